"""The file in which a supervisor describes its components, for `status`."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from tracker.home import own_files
from tracker.home.home import Home
from tracker.supervisor import sessions
from tracker.supervisor.component import Component


@dataclass(frozen=True, kw_only=True)
class ComponentStatus:
    """One process of the stack. The address contains no password."""

    name: str
    state: str  # starting, running, restarting or stopped
    pid: int | None
    address: str | None
    restarts: int
    log: str
    last_end: str | None = None  # why it was restarted


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The stack as last described by its supervisor."""

    state: str  # starting, running or stopping
    components: tuple[ComponentStatus, ...]


class Notice:
    """Writes the file whenever something has changed."""

    def __init__(self, home: Home) -> None:
        self._file = home.processes_file
        self._written = ""

    def write(self, state: str, components: Iterable[Component]) -> None:
        rows = [_row(component) for component in components]
        text = json.dumps({"state": state, "components": rows}, indent=1)
        if text != self._written:
            own_files.write_text(self._file, text)
            self._written = text

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)


def read(home: Home) -> Shown:
    """The file's content, checked against running processes; empty if it is corrupt."""
    try:
        found = json.loads(own_files.read_text(home.processes_file) or "")
        components = tuple(_checked(**row) for row in found["components"])
        return Shown(state=str(found["state"]), components=components)
    except (ValueError, TypeError, KeyError):
        return Shown(state="starting", components=())


def _row(component: Component) -> dict[str, str | int | float | None]:
    process = component.process
    return {
        "name": component.name,
        "state": component.state,
        "pid": process.pid if process else None,
        "started": process.started if process else None,
        "address": component.service.address,
        "restarts": component.restarts,
        "log": str(component.service.command.log),
        "last_end": component.last_end,
    }


def _checked(
    *,
    name: str,
    state: str,
    pid: int | None,
    started: float | None,
    address: str | None,
    restarts: int,
    log: str,
    last_end: str | None = None,
) -> ComponentStatus:
    if pid and not (started and sessions.is_alive(pid, started)):
        pid, state = None, "restarting"  # the supervisor has not noticed yet
    return ComponentStatus(
        name=name,
        state=state,
        pid=pid,
        address=address,
        restarts=restarts,
        log=log,
        last_end=last_end,
    )
