"""`up`, `down` and `status`, as called by the command line."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper

from tracker.home.home import Home, StackState
from tracker.secrets.urls import for_people
from tracker.supervisor import background, lock, processes, services, waiting
from tracker.supervisor.errors import AlreadyRunning, DidNotStop
from tracker.supervisor.options import StackOptions
from tracker.supervisor.process import log_file
from tracker.supervisor.processes import ComponentStatus
from tracker.supervisor.stack import MakeServices, Stack

STOP_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """What currently runs on a home."""

    home: str
    state: str  # stopped, starting, running or stopping
    pid: int | None = None
    app_url: str | None = None
    mlflow_tracking_uri: str | None = None
    components: tuple[ComponentStatus, ...] = ()


def up(
    home: Home,
    *,
    detach: bool = False,
    options: StackOptions | None = None,
    on_ready: Callable[[StackState], None] = lambda _: None,
    make_services: MakeServices = services.all_of,
) -> StackState | None:
    """Run the stack until a signal arrives; if `detach`, return its state once it is ready."""
    home = Home(home.root.absolute())
    if detach:
        if running := lock.holder(home):
            raise AlreadyRunning(home.root, running.pid, lock.addresses(home))
        state = background.start(home)
        on_ready(state)
        return state
    with lock.held(home) as file, _log(home):
        options = options or StackOptions.from_environment()
        Stack(home, options, lock=file, make_services=make_services).run(on_ready)
    return None


def down(home: Home) -> bool:
    """Stop the stack and wait until it has ended; False if none runs.

    Signals only the supervisor of this home, and only if this user started it.
    """
    home = Home(home.root.absolute())
    if not (running := lock.holder(home)):
        return False
    with suppress(ProcessLookupError):  # it has just exited
        os.kill(running.pid, signal.SIGTERM)
    gone = waiting.passes(lambda: not running.alive and lock.is_free(home), seconds=STOP_SECONDS)
    if not gone:
        raise DidNotStop(running.pid, STOP_SECONDS)
    return True


def status(home: Home) -> StackStatus:
    """The state of the stack and of each component."""
    home = Home(home.root.absolute())
    if not (running := lock.holder(home)):
        return StackStatus(home=str(home.root), state="stopped")
    state, shown = home.running(), processes.read(home)
    return StackStatus(
        home=str(home.root),
        state=shown.state,
        pid=running.pid,
        app_url=state.app_url if state else None,
        mlflow_tracking_uri=for_people(state.mlflow_tracking_uri) if state else None,
        components=shown.components,
    )


@contextmanager
def _log(home: Home) -> Iterator[None]:
    """Write the supervisor's log beside those of its children; warnings go to stderr as well."""
    logger = logging.getLogger("tracker.supervisor")
    level = logger.level
    kept = TextIOWrapper(log_file(home.log("supervisor")), encoding="utf-8", line_buffering=True)
    written, shown = logging.StreamHandler(kept), logging.StreamHandler(sys.stderr)
    written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    shown.setLevel(logging.WARNING)
    for handler in (written, shown):
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for handler in (written, shown):
            logger.removeHandler(handler)
        logger.setLevel(level)
        with suppress(OSError):  # a full disk
            kept.close()
