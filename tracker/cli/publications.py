"""`headbook publish`: bring MLflow up to date, and check its tensor files against their hashes."""

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
    str | None, typer.Argument(metavar="[RUN]", help="Only this run: its id, or a prefix.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Also verify the tensor files of published runs.")
]


def publish(run: RunId = None, check: Check = False) -> None:
    """Bring MLflow up to date with every run that has ended.

    Tensor files that are missing or changed are uploaded again from the spool of HEADBOOK_HOME.
    With --check this covers published runs too, newest first, and files left by runs that ended
    without a result are deleted. Exits with 1 if anything could not be fixed.
    """
    settings = Settings()
    with open_sessions(settings) as sessions:
        with transaction(sessions) as session:
            only = None if run is None else runs.find_run(session, run).id
            pending = _selected(publications.pending(session), only)
            checkable = _selected(publications.checkable(session), only) if check else []
        from tracker.publishing import mirror
        from tracker.publishing.artifacts import ArtifactStore
        from tracker.publishing.publication import mlflow_client

        checked: set[UUID] = set()
        spool = Spool(Home(settings.home).spool)
        artifacts = ArtifactStore(mlflow=mlflow_client(settings.tracking()), spool=spool)

        def publish_one(run_id: UUID) -> None:
            done = mirror.publish(sessions, artifacts, run_id, app_url=settings.app())
            typer.echo(f"{run_id}: " + ("published" if done else "a worker is publishing it"))

        def check_one(run_id: UUID) -> None:
            for path, condition in mirror.check(
                sessions, artifacts, run_id, app_url=settings.app()
            ):
                checked.add(run_id)
                typer.echo(f"{run_id}: {path} is {condition}")

        failed = _for_each(publish_one, pending) + _for_each(check_one, checkable)
    if not pending and not check:
        typer.echo("MLflow is up to date.")
    if check and not (pending or checked or failed):
        typer.echo("There are no published tensors to check.")
    if failed:
        raise typer.Exit(1)


def _selected(run_ids: list[UUID], only: UUID | None) -> list[UUID]:
    return [run_id for run_id in run_ids if only in (None, run_id)]


def _for_each(do: Callable[[UUID], None], run_ids: Iterable[UUID]) -> int:
    """Call `do` for every run, print the errors and go on; the number of failures."""
    failed = 0
    for run_id in run_ids:
        try:
            through_outages(partial(do, run_id))
        except TrackerError as error:
            failed += 1
            typer.echo(f"{run_id}: {error}", err=True)
    return failed
