"""A Celery worker's child process: the errands it is given. There is one child at a time."""

import os
import signal
import threading
from functools import cache
from typing import Any
from uuid import UUID

from celery import shared_task, signals
from structlog import get_logger

from tracker.database import db
from tracker.domain.wakeups import HELP_WITH_RUN, PUBLISH_RUN
from tracker.home.home import Home
from tracker.run_logs import logs
from tracker.settings.settings import Settings
from tracker.store import endings, parts
from tracker.working.heartbeat import Limits, StopRequest

log = get_logger(__name__)


@cache
def _stop() -> StopRequest:
    return StopRequest()


@cache
def _taking_back() -> threading.Thread:
    return threading.Thread(target=_take_back, name="taking-back", daemon=True)


def _take_back() -> None:
    """Put back what the child before this one held: it is dead, or this one would not be here."""
    name = os.environ["HEADBOOK_WORKER"]
    sessions = db.connect(Settings().database(), pool_size=1)
    try:
        with db.transaction(sessions) as session:
            held = parts.runs_held_by(session, name)
        for run_id in held:
            with db.transaction(sessions) as session:
                taken = endings.lost(session, run_id, worker=name)
            log.warning("the process before this one was lost", run_id=str(run_id), parts=taken)
    except Exception as error:
        log.warning("left to the reaper: what the process before this one held", error=str(error))
    finally:
        db.close(sessions)


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    """Heed a request to stop from the first moment; by default that signal ends a process."""
    logs.configure()
    _stop().listen(signal.SIGUSR2)
    _taking_back().start()  # beside: a child that does not report in time is killed


@cache
def _bench() -> Any:
    """What the child works with, made at its first task: this is where torch is loaded."""
    from tracker.publishing.artifacts import ArtifactStore
    from tracker.publishing.publication import mlflow_client
    from tracker.publishing.spool import Spool
    from tracker.working.context import WorkerContext
    from tracker.working.loaded_models import LoadedModels

    settings = Settings()
    sessions = db.connect(settings.database())
    home = Home(settings.home)
    return WorkerContext(
        name=os.environ["HEADBOOK_WORKER"],
        sessions=sessions,
        aside=db.beside(sessions),
        artifacts=ArtifactStore(mlflow=mlflow_client(settings.tracking()), spool=Spool(home.spool)),
        home=home,
        roots=settings.model_roots,
        device=settings.device,
        limits=Limits(
            lease=settings.lease_seconds,
            heartbeat=settings.heartbeat_seconds,
            stall=settings.stall_seconds,
            part=settings.part_seconds,
            grace=settings.grace_seconds,
        ),
        loaded=LoadedModels(settings.model_cache),
        stop=_stop(),
        app_url=settings.app(),
        memory_budget=settings.memory_budget,
    )


@shared_task(name=HELP_WITH_RUN)
def help_with_run(run_id: str) -> None:
    from tracker.working.execution import work

    _taking_back().join()  # it must not take back what this process claims
    work(_bench(), hint=UUID(run_id))


@shared_task(name=PUBLISH_RUN)
def publish_run(run_id: str) -> None:
    from tracker.working.execution import publish_if_ended

    publish_if_ended(_bench(), UUID(run_id))


def answer(task: str, run_id: str) -> None:
    """Do what the worker's parent has found to do."""
    try:
        {HELP_WITH_RUN: help_with_run, PUBLISH_RUN: publish_run}[task](run_id)
    except Exception:
        log.exception("an errand failed", task=task, run_id=run_id)
