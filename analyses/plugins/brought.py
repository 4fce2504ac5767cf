"""The analyses that plugins bring, imported into this process when they are asked for."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Generic, TypeVar

from analyses.errors import Refused
from analyses.plugins import output, process_state, time_limit, trial
from analyses.plugins.found import Broken, Plugin, plain
from analyses.plugins.survey import Survey, survey

Analysis = TypeVar("Analysis")


class Brought(Generic[Analysis]):
    """Who brings which analysis is found once, by trials; then each plugin is imported alone."""

    def __init__(
        self,
        import_: Callable[[Plugin], Mapping[str, Analysis]],
        as_brought: Callable[[Analysis, Plugin], Analysis],
    ) -> None:
        self._import, self._as_brought = import_, as_brought
        self._lock = RLock()
        self._survey: Survey | None = None
        self._registered: dict[str, Analysis] = {}  # by whatever import: one may import another
        self._found: dict[str, Analysis] = {}
        self._imported: dict[Plugin, Broken | None] = {}

    @property
    def survey(self) -> Survey:
        with self._lock:
            if self._survey is None:
                self._survey = survey()
            return self._survey

    @property
    def broken(self) -> list[Broken]:
        """The plugins that are not used, by name, with those that went wrong here alone."""
        here = [each for each in self._imported.values() if each is not None]
        return sorted([*self.survey.broken, *here], key=lambda each: each.plugin.name)

    @property
    def names(self) -> list[str]:
        """Of the analyses that can be used, unless their plugins go wrong here."""
        return list(self.survey.bringers)

    def find(self, name: str) -> Analysis | None:
        """None where no plugin brings it, or its plugin is broken."""
        plugin = self.survey.bringers.get(name)
        if plugin is None:
            return None
        with self._lock:
            if plugin not in self._imported:
                self._imported[plugin] = self._import_here(plugin)
        return self._found.get(name)

    def _import_here(self, plugin: Plugin) -> Broken | None:
        """Why it fails although it was good in a trial; None where it does not."""
        theirs = [name for name, each in self.survey.bringers.items() if each == plugin]
        try:
            with output.aside(), process_state.kept():
                found = time_limit.within(trial.seconds(), lambda: self._import(plugin))
            self._registered |= {**found, **self._registered}
            for name in theirs:
                self._found[name] = self._as_brought(self._registered[name], plugin)
        except Exception as error:
            said = error if isinstance(error, Refused) else f"raised {error!r}"
            reason = f"it was good in a trial, but in this process it {plain(said)}"
            return Broken(plugin=plugin, reason=reason, analyses=tuple(theirs))
        return None
