"""The analyses of plugins, imported into this process on first use."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Generic, TypeVar

from analyses.errors import Refused
from analyses.plugins import output, process_state, time_limit, trial
from analyses.plugins.discovery import Broken, Plugin, plain
from analyses.plugins.survey import Survey, survey

Analysis = TypeVar("Analysis")


class PluginAnalyses(Generic[Analysis]):
    """Trials show once which plugin registers which analysis; each is imported on first use."""

    def __init__(
        self,
        import_: Callable[[Plugin], Mapping[str, Analysis]],
        wrap: Callable[[Analysis, Plugin], Analysis],
    ) -> None:
        self._import, self._wrap = import_, wrap
        self._lock = RLock()
        self._survey: Survey | None = None
        self._registered: dict[str, Analysis] = {}  # by any import: a plugin may import another
        self._analyses: dict[str, Analysis] = {}
        self._imported: dict[Plugin, Broken | None] = {}

    @property
    def survey(self) -> Survey:
        with self._lock:
            if self._survey is None:
                self._survey = survey()
            return self._survey

    @property
    def broken(self) -> list[Broken]:
        """The plugins that are not used, by name, with those that failed in this process only."""
        here = [plugin for plugin in self._imported.values() if plugin is not None]
        return sorted([*self.survey.broken, *here], key=lambda broken: broken.plugin.name)

    @property
    def names(self) -> list[str]:
        """The names of the analyses that can be used, unless importing their plugin fails here."""
        return list(self.survey.plugins)

    def find(self, name: str) -> Analysis | None:
        """The analysis; None if no plugin registers it or its plugin is broken."""
        plugin = self.survey.plugins.get(name)
        if plugin is None:
            return None
        with self._lock:
            if plugin not in self._imported:
                self._imported[plugin] = self._import_here(plugin)
        return self._analyses.get(name)

    def _import_here(self, plugin: Plugin) -> Broken | None:
        """Import a plugin; why that fails although its trial succeeded, or None."""
        names = [name for name, owner in self.survey.plugins.items() if owner == plugin]
        try:
            with output.aside(), process_state.kept():
                imported = time_limit.within(trial.seconds(), lambda: self._import(plugin))
            self._registered |= {**imported, **self._registered}
            for name in names:
                self._analyses[name] = self._wrap(self._registered[name], plugin)
        except Exception as error:
            what = error if isinstance(error, Refused) else f"raised {error!r}"
            reason = (
                f"its trial succeeded, but in this process it {plain(what)}. If it was installed "
                "or changed after this process started, restart the process"
            )
            return Broken(plugin=plugin, reason=reason, analyses=tuple(names))
        return None
