"""Which analyses the installed plugins bring, and which plugins are not used and why."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from analyses.plugins import trial
from analyses.plugins.found import Broken, Plugin, installed
from analyses.plugins.remembered import verdict

_AT_ONCE = 4  # processes that try plugins


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Of all plugins: who brings each analysis that can be used, and what cannot."""

    bringers: Mapping[str, Plugin]
    broken: tuple[Broken, ...]


def survey() -> Survey:
    """All plugins, those tried that are new or have changed; none where one is just tried."""
    if trial.under_way():
        return Survey(bringers={}, broken=())
    plugins, broken = installed()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = dict(zip(plugins, pool.map(verdict, plugins), strict=True))
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
    return Survey(bringers=sole, broken=tuple(broken))


def _is_in(plugin: Plugin, function: str) -> bool:
    """Whether it is the plugin's own, and not of another that the plugin builds on."""
    return f"{function.partition(':')[0]}.".startswith(f"{plugin.module}.")


def _rivals(name: str, claim: Mapping[str, Plugin]) -> list[Broken]:
    """Of several that register the same name none is used."""
    if len(claim) == 1:
        return []
    all_of_them = " and ".join(
        f"{each.name!r} of {each.distribution} ({function})" for function, each in claim.items()
    )
    said = f"several plugins register {name!r}, and none of these wins: {all_of_them}"
    return [Broken(plugin=each, reason=said, analyses=(name,)) for each in claim.values()]
