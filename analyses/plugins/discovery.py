"""Finds the installed plugins by their entry points, without importing them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from analyses.shown import one_line

GROUP = "headbook.analyses"  # the entry-point group; each entry names a module that registers
OURS = "headbook"
LONGEST = 200  # characters that are shown of a name or other text of a plugin

_OBJECT = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*)\s*(:\s*(?P<attribute>[\w.]+)\s*)?")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An entry point, and the distribution that declares it: its name and version."""

    name: str
    value: str
    distribution: str

    @property
    def module(self) -> str:
        return self._parts["module"]  # empty if malformed

    @property
    def attributes(self) -> list[str]:
        """The attributes to look up in the imported module; usually none."""
        return [name for name in self._parts["attribute"].split(".") if name]

    @property
    def well_formed(self) -> bool:
        return len(self.value) <= LONGEST and _OBJECT.fullmatch(self.value) is not None

    @property
    def _parts(self) -> dict[str, str]:
        match = _OBJECT.fullmatch(self.value)
        return match.groupdict("") if match else {"module": "", "attribute": ""}


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A plugin that is not used, the reason, and the analyses it would register, if known."""

    plugin: Plugin
    reason: str
    analyses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"The plugin {self.plugin.name!r} of the package {self.plugin.distribution} is not "
            f"used: {self.reason}. Fix or uninstall that package."
        )


def plain(text: object, most: int = LONGEST) -> str:
    """A plugin's text in one short, printable line."""
    return one_line(text, most=most)


def installed() -> tuple[list[Plugin], list[Broken]]:
    """The plugins, sorted by package and name, and those with a malformed entry point.

    If a package is on the path twice, the first one counts, as for an import.
    """
    packages: dict[str, Distribution] = {}
    for distribution in distributions():
        packages.setdefault(_normal(_name(distribution)), distribution)
    packages.pop(OURS, None)
    declared = [plugin for name in sorted(packages) for plugin in _declared(packages[name])]
    malformed = [
        Broken(plugin=plugin, reason=f"it names {plain(plugin.value)!r}, which is not a module")
        for plugin in declared
        if not plugin.well_formed
    ]
    return [plugin for plugin in declared if plugin.well_formed], malformed


@cache
def packages() -> frozenset[str]:
    """The top-level packages that register analyses."""
    modules = [plugin.module for plugin in installed()[0]]
    return frozenset({"analyses", *(module.partition(".")[0] for module in modules)})


def _declared(distribution: Distribution) -> Iterator[Plugin]:
    entries = {(each.name, each.value) for each in distribution.entry_points.select(group=GROUP)}
    for name, value in sorted(entries):
        yield Plugin(name=plain(name), value=value, distribution=_described(distribution))


def _described(distribution: Distribution) -> str:
    try:
        version = distribution.version
    except Exception:
        version = None
    return plain(f"{_name(distribution)} {version or '(no version)'}")


def _name(distribution: Distribution) -> str:
    """The distribution's name, from its metadata or else from its folder."""
    try:
        name: str | None = distribution.metadata["Name"]
    except Exception:
        name = None
    return name or Path(str(getattr(distribution, "_path", "?"))).stem.partition("-")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
