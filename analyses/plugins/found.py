"""Which plugins are installed; none of them is imported for this."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from analyses.shown import one_line

GROUP = "headbook.analyses"  # the entry-point group; each entry names a module that registers
OURS = "headbook"
LONGEST = 200  # characters of a name, or of what a plugin says of itself, that are shown

_OBJECT = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*)\s*(:\s*(?P<attribute>[\w.]+)\s*)?")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """An entry point, and the distribution that declares it: its name and version."""

    name: str
    value: str
    distribution: str

    @property
    def module(self) -> str:
        return self._parts["module"]  # empty where it is not well formed

    @property
    def attributes(self) -> list[str]:
        """What is looked up in the module once it is imported; usually nothing."""
        return [each for each in self._parts["attribute"].split(".") if each]

    @property
    def well_formed(self) -> bool:
        return len(self.value) <= LONGEST and _OBJECT.fullmatch(self.value) is not None

    @property
    def _parts(self) -> dict[str, str]:
        found = _OBJECT.fullmatch(self.value)
        return found.groupdict("") if found else {"module": "", "attribute": ""}


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A plugin that is not used, why, and which analyses it would bring as far as is known."""

    plugin: Plugin
    reason: str
    analyses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"The plugin {self.plugin.name!r} of the package {self.plugin.distribution} is not "
            f"used: {self.reason}. Repair or uninstall that package."
        )


def plain(text: object, most: int = LONGEST) -> str:
    """A text of somebody else in one short line."""
    return one_line(text, most=most)


def installed() -> tuple[list[Plugin], list[Broken]]:
    """The plugins by package and name, and those whose declaration cannot be read.

    Of a package that lies on the path twice the first counts, as for an import.
    """
    found: dict[str, Distribution] = {}
    for each in distributions():
        found.setdefault(_normal(_name(each)), each)
    found.pop(OURS, None)
    declared = [plugin for name in sorted(found) for plugin in _declared(found[name])]
    unreadable = [
        Broken(plugin=each, reason=f"it names {plain(each.value)!r}, which is no module")
        for each in declared
        if not each.well_formed
    ]
    return [each for each in declared if each.well_formed], unreadable


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
    """By its metadata, or its folder where it has none."""
    try:
        name: str | None = distribution.metadata["Name"]
    except Exception:
        name = None
    return name or Path(str(getattr(distribution, "_path", "?"))).stem.partition("-")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
