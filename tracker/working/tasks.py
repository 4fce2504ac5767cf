"""A Celery worker's child process, and the tasks that it runs. There is one child at a time."""

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
from tracker.store import endings, parts, workers
from tracker.working.heartbeat import Limits, StopRequest

log = get_logger(__name__)


@cache
def _stop() -> StopRequest:
    return StopRequest()


@cache
def _releasing() -> threading.Thread:
    return threading.Thread(target=_release_lost_parts, name="releasing", daemon=True)


def _release_lost_parts() -> None:
    """Release the parts of the previous child: it has ended, or this one would not have started."""
    name = os.environ["HEADBOOK_WORKER"]
    sessions = db.connect(Settings().database(), pool_size=1)
    try:
        with db.transaction(sessions) as session:
            held = parts.runs_held_by(session, name)
            workers.works_on(session, name=name, run_id=None, loaded_model=None, device=None)
        for run_id in held:
            with db.transaction(sessions) as session:
                taken = endings.lost(session, run_id, worker=name)
            log.warning(
                "parts of the previous process were released", run_id=str(run_id), parts=taken
            )
    except Exception as error:
        log.warning("parts of the previous process are left to the reaper", error=str(error))
    finally:
        db.close(sessions)


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    """Handle requests to stop from the start; by default the signal would end the process."""
    logs.configure()
    _stop().listen(signal.SIGUSR2)
    _releasing().start()  # in parallel: a child that does not report in time is killed


@cache
def _context() -> Any:
    """The worker's context, created with the first task: this is where torch is loaded."""
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
        large_runs_only=settings.only_above is not None,
    )


@shared_task(name=HELP_WITH_RUN)
def help_with_run(run_id: str) -> None:
    from tracker.working.execution import work

    _releasing().join()  # it must not release what this process claims
    work(_context(), hint=UUID(run_id))


@shared_task(name=PUBLISH_RUN)
def publish_run(run_id: str) -> None:
    from tracker.working.execution import publish_if_ended

    publish_if_ended(_context(), UUID(run_id))


def run_task(task: str, run_id: str) -> None:
    """Do what the worker's parent process has chosen."""
    try:
        {HELP_WITH_RUN: help_with_run, PUBLISH_RUN: publish_run}[task](run_id)
    except Exception:
        log.exception("a task failed", task=task, run_id=run_id)
