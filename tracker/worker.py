"""A Celery worker: its parent says that it lives, its one child does the work."""

import os
import platform
import signal
import threading
import time
from functools import cache
from typing import Any
from uuid import UUID

import psutil
from celery import shared_task, signals
from structlog import get_logger

from analyses import registry
from tracker import broker, db, logs, sweeping
from tracker.heartbeat import StopRequest
from tracker.home import Home
from tracker.settings import Settings
from tracker.spool import Spool
from tracker.store import workers

log = get_logger(__name__)

_SIGN_OF_LIFE = 15.0  # seconds
_SWEEP_EVERY = 3600.0  # seconds


def run_worker(settings: Settings) -> int:
    """Work until stopped; the exit code of the process."""
    logs.configure()
    app = broker.celery_app(settings.broker())
    settings.tracking()  # a worker that could never finish a run does not start
    registry.all_analyses()
    app.conf.imports = ("tracker.worker",)
    name = f"{platform.node()}:{os.getpid()}"
    os.environ["HEADBOOK_WORKER"] = name  # for the child, which is a fresh interpreter
    life = _SignsOfLife(name, settings)
    signals.worker_ready.connect(life.start, weak=False)
    signals.worker_shutting_down.connect(_tell_child_to_release, weak=False)
    try:
        app.worker_main(["--quiet", "worker", "--loglevel=INFO", f"--hostname=headbook@{name}"])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        life.end()
    return 0


class _SignsOfLife:
    """Keeps the worker's row fresh and its spool small, in a thread of the parent.

    The parent never computes, so that this happens however busy the worker is.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.device = name, settings.device
        self.sessions = db.connect(settings.database(), pool_size=1)
        self.spool = Spool(Home(settings.home).spool)
        self.next_sweep = time.monotonic()
        self.ended = threading.Event()

    def start(self, **_: Any) -> None:
        threading.Thread(target=self._run, name="signs-of-life", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                with db.transaction(self.sessions) as session:
                    workers.seen(
                        session,
                        name=self.name,
                        host=platform.node(),
                        pid=os.getpid(),
                        device=self.device,
                    )
            except Exception as error:
                log.warning("no sign of life could be given", error=str(error))
            self._sweep_now_and_then()
            if self.ended.wait(_SIGN_OF_LIFE):
                return

    def _sweep_now_and_then(self) -> None:
        if time.monotonic() < self.next_sweep:
            return
        self.next_sweep = time.monotonic() + _SWEEP_EVERY
        try:
            if freed := sweeping.sweep(self.sessions, self.spool):
                log.info("the spool was swept", freed_bytes=freed)
        except Exception as error:
            log.warning("the spool could not be swept", error=str(error))

    def end(self) -> None:
        self.ended.set()
        try:
            with db.transaction(self.sessions) as session:
                workers.stopped(session, name=self.name)
        except Exception as error:
            log.warning("the goodbye was not recorded", error=str(error))
        db.close(self.sessions)


def _tell_child_to_release(**_: Any) -> None:
    """A warm shutdown waits for the child's task; this ends the task after its current batch."""
    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):  # others keep semaphores; they must stay
            child.send_signal(signal.SIGUSR2)


@cache
def _stop() -> StopRequest:
    return StopRequest()


@cache
def _bench() -> Any:
    """What the child works with, made at its first task: this is where torch is loaded."""
    from tracker.execution import Workbench
    from tracker.publication import mlflow_client

    settings = Settings()
    return Workbench(
        name=os.environ["HEADBOOK_WORKER"],
        sessions=db.connect(settings.database()),
        mlflow=mlflow_client(settings.tracking()),
        home=Home(settings.home),
        roots=settings.model_roots,
        device=settings.device,
        lease=settings.lease_seconds,
        heartbeat=settings.heartbeat_seconds,
        stop=_stop(),
        app_url=settings.app(),
        memory_budget=settings.memory_budget,
    )


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    """Heed a request to stop from the first moment; by default that signal ends a process."""
    logs.configure()
    _stop().listen(signal.SIGUSR2)


@shared_task(name=broker.HELP_WITH_RUN)
def help_with_run(run_id: str) -> None:
    from tracker.execution import work

    work(_bench(), hint=UUID(run_id))


@shared_task(name=broker.PUBLISH_RUN)
def publish_run(run_id: str) -> None:
    from tracker.execution import publish_if_ended

    publish_if_ended(_bench(), UUID(run_id))
