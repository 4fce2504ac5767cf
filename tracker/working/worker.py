"""A Celery worker's parent process: reports that the worker is alive; its child does the work."""

import os
import platform
import signal
import threading
import time
from functools import partial
from secrets import token_hex
from typing import Any

import psutil
from celery import signals
from structlog import get_logger

from analyses import names, registry
from tracker import devices
from tracker.database import db
from tracker.home import readiness
from tracker.home.home import Home
from tracker.publishing import spool_cleanup
from tracker.publishing.spool import Spool
from tracker.queueing import broker
from tracker.run_logs import logs
from tracker.settings.settings import Settings
from tracker.store import workers
from tracker.working.consumer import PollingConsumer

log = get_logger(__name__)

_REPORT_EVERY = 15.0  # seconds
_SWEEP_EVERY = 3600.0  # seconds


def run_worker(settings: Settings) -> int:
    """Work until stopped; returns the exit code of the process."""
    logs.configure()
    app = broker.celery_app(settings.broker())
    broker.check(app)
    settings.tracking()  # a worker that could never finish a run must not start
    threading.Thread(target=_name_broken_plugins, name="plugins", daemon=True).start()
    app.conf.imports = ("tracker.working.tasks",)
    # Containers share host names and process ids, and names of workers must be unique.
    name = f"{_host()}:{os.getpid()}.{token_hex(2)}"
    os.environ["HEADBOOK_WORKER"] = name  # for the child, which is a fresh interpreter
    liveness = _Liveness(name, settings)
    db.check(liveness.sessions)
    signals.worker_ready.connect(liveness.start, weak=False)
    signals.worker_shutting_down.connect(_tell_child_to_release, weak=False)
    consumer = partial(
        PollingConsumer,
        sessions=liveness.sessions,
        look_every=settings.look_seconds,
        worker=name,
    )
    worker: Any = app.Worker(
        hostname=f"headbook@{name}", loglevel="INFO", quiet=True, consumer_cls=consumer
    )
    try:
        worker.start()
    finally:
        liveness.end()
    return int(worker.exitcode or 0)


def _host() -> str:
    return names.checked("host", platform.node() or "unnamed", most=names.LONGEST_HOST)


def _name_broken_plugins() -> None:
    """In parallel: the worker is ready for other analyses however long a plugin takes."""
    try:
        for plugin in registry.broken():
            log.warning(
                "a plugin cannot be used", error=str(plugin), analyses=list(plugin.analyses)
            )
    except Exception:
        log.exception("the plugins could not be checked")


class _Liveness:
    """Updates the worker's row and cleans up its spool, in a thread of the parent.

    The parent never computes, so that this happens however busy the worker is.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.device, self.only_above = name, settings.device, settings.only_above
        self.sessions = db.connect(settings.database(), pool_size=1)
        self.spool = Spool(Home(settings.home).spool)
        self.next_sweep = time.monotonic()
        self.ended = threading.Event()

    def start(self, **_: Any) -> None:
        threading.Thread(target=self._run, name="liveness", daemon=True).start()

    def _run(self) -> None:
        capability = devices.survey(self.device)
        while True:
            try:
                with db.transaction(self.sessions) as session:
                    workers.seen(
                        session,
                        name=self.name,
                        host=_host(),
                        pid=os.getpid(),
                        device=self.device,
                        capability=capability,
                        only_above=self.only_above,
                    )
                readiness.announce()
            except Exception as error:
                log.warning("the worker's row could not be updated", error=str(error))
            self._sweep_if_due()
            if self.ended.wait(_REPORT_EVERY):
                return

    def _sweep_if_due(self) -> None:
        if time.monotonic() < self.next_sweep:
            return
        self.next_sweep = time.monotonic() + _SWEEP_EVERY
        try:
            if freed := spool_cleanup.sweep(self.sessions, self.spool):
                log.info("the spool was cleaned up", freed_bytes=freed)
        except Exception as error:
            log.warning("the spool could not be cleaned up", error=str(error))

    def end(self) -> None:
        self.ended.set()
        try:
            with db.transaction(self.sessions) as session:
                workers.stopped(session, name=self.name)
        except Exception as error:
            log.warning("the end of the worker was not recorded", error=str(error))
        db.close(self.sessions)


def _tell_child_to_release(**_: Any) -> None:
    """End the child's task after its current batch; a warm shutdown waits for the task."""
    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):  # others own semaphores and must stay
            child.send_signal(signal.SIGUSR2)
