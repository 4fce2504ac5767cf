"""Which analyses the installed plugins register, and which plugins are not used and why."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from analyses.plugins import trial
from analyses.plugins.discovery import Broken, Plugin, installed
from analyses.plugins.verdict_cache import verdict

_AT_ONCE = 4  # processes that try plugins


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The plugin of each usable analysis, and the plugins that cannot be used."""

    plugins: Mapping[str, Plugin]
    broken: tuple[Broken, ...]


def survey() -> Survey:
    """Survey all plugins, trying those that are new or changed. Empty inside a trial."""
    if trial.under_way():
        return Survey(plugins={}, broken=())
    candidates, broken = installed()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = dict(zip(candidates, pool.map(verdict, candidates), strict=True))
    claims: dict[str, dict[str, Plugin]] = {}  # by analysis and function
    for plugin, found in verdicts.items():
        if found.reason:
            broken.append(
                Broken(plugin=plugin, reason=found.reason, analyses=tuple(sorted(found.names)))
            )
            continue
        for name, function in found.names.items():
            claim = claims.setdefault(name, {})
            if function not in claim or _is_in(plugin, function):
                claim[function] = plugin
    broken += [each for name, claim in claims.items() for each in _rivals(name, claim)]
    sole = {name: next(iter(claim.values())) for name, claim in claims.items() if len(claim) == 1}
    return Survey(plugins=sole, broken=tuple(broken))


def _is_in(plugin: Plugin, function: str) -> bool:
    """Whether the function is the plugin's own, not that of another plugin it imports."""
    return f"{function.partition(':')[0]}.".startswith(f"{plugin.module}.")


def _rivals(name: str, claim: Mapping[str, Plugin]) -> list[Broken]:
    """The plugins that register the same name, none of which is used."""
    if len(claim) == 1:
        return []
    rivals = " and ".join(
        f"{each.name!r} of {each.distribution} ({function})" for function, each in claim.items()
    )
    reason = f"several plugins register {name!r}, so that none of them is used: {rivals}"
    return [Broken(plugin=each, reason=reason, analyses=(name,)) for each in claim.values()]
