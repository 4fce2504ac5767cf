"""`headbook publish`: MLflow brought up to date, its tensor files held against their hashes."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from tracker.cli.patience import through_outages
from tracker.cli.session import open_sessions
from tracker.database.db import transaction
from tracker.errors import TrackerError
from tracker.home.home import Home
from tracker.publishing.spool import Spool
from tracker.settings.settings import Settings
from tracker.store import publications, runs

RunId = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Only this run: its id, or how it begins.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Also read back the tensors of what is published already.")
]


def publish(run: RunId = None, check: Check = False) -> None:
    """Bring MLflow up to date with every run that has ended.

    Tensor files that are missing or changed are uploaded again from the spool of HEADBOOK_HOME;
    with --check those of published runs as well, the newest first, and what runs have left that
    ended without a result is deleted. Exits with 1 where something could not be put right.
    """
    settings = Settings()
    with open_sessions(settings) as sessions:
        with transaction(sessions) as session:
            only = None if run is None else runs.find_run(session, run).id
            waiting = _chosen(publications.pending(session), only)
            stored = _chosen(publications.checkable(session), only) if check else []
        from tracker.publishing import mirror
        from tracker.publishing.artifacts import ArtifactStore
        from tracker.publishing.publication import mlflow_client

        looked_at: set[UUID] = set()
        spool = Spool(Home(settings.home).spool)
        artifacts = ArtifactStore(mlflow=mlflow_client(settings.tracking()), spool=spool)

        def publish_one(run_id: UUID) -> None:
            done = mirror.publish(sessions, artifacts, run_id, app_url=settings.app())
            typer.echo(f"{run_id}: " + ("published" if done else "a worker is publishing it"))

        def check_one(run_id: UUID) -> None:
            for path, condition in mirror.check(
                sessions, artifacts, run_id, app_url=settings.app()
            ):
                looked_at.add(run_id)
                typer.echo(f"{run_id}: {path} is {condition}")

        failed = _each(publish_one, waiting) + _each(check_one, stored)
    if not waiting and not check:
        typer.echo("MLflow is up to date.")
    if check and not (waiting or looked_at or failed):
        typer.echo("There are no published tensors to check.")
    if failed:
        raise typer.Exit(1)


def _chosen(run_ids: list[UUID], only: UUID | None) -> list[UUID]:
    return [each for each in run_ids if only in (None, each)]


def _each(do: Callable[[UUID], None], run_ids: Iterable[UUID]) -> int:
    """Do it for every run; how many failed, which are told and do not keep the others waiting."""
    failed = 0
    for run_id in run_ids:
        try:
            through_outages(partial(do, run_id))
        except TrackerError as error:
            failed += 1
            typer.echo(f"{run_id}: {error}", err=True)
    return failed
