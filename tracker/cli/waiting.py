"""Waiting at the command line until runs have ended."""

import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analyses.shown import one_line
from tracker import results
from tracker.cli.patience import through_outages
from tracker.cli.terminal import console
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.results import RunLine

_LOOK_EVERY = 0.3  # seconds


def lines(run_ids: Sequence[UUID], sessions: Sessions) -> list[RunLine]:
    """The runs as they stand now, in that order."""
    with transaction(sessions) as session:
        found = results.runs(session, ids=run_ids, limit=len(run_ids))
    by_id = {line.id: line for line in found}
    return [by_id[each] for each in run_ids]


def wait(run_ids: Sequence[UUID], sessions: Sessions, *, quiet: bool) -> list[RunLine]:
    """Show a bar until all runs have ended, however often the database is away meanwhile."""
    look = partial(through_outages, partial(lines, run_ids, sessions))
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=quiet) as progress:
        seen = look()
        shown = progress.add_task("", total=sum(line.n_prompts for line in seen))
        while True:
            done = sum(line.done for line in seen)
            progress.update(shown, completed=done, description=_standing(seen))
            if all(line.ended for line in seen):
                return seen
            time.sleep(_LOOK_EVERY)
            seen = look()


def _standing(seen: Sequence[RunLine]) -> str:
    if len(seen) > 1:
        return f"{sum(line.ended for line in seen)} of {len(seen)} runs have ended"
    (line,) = seen
    return one_line(line.reason) if line.reason and not line.ended else line.state.value


def exit_unless_succeeded(ended: Sequence[RunLine]) -> None:
    """Exit code 1, with the reasons, where a run has ended in another way."""
    others = [line for line in ended if line.state is not RunState.SUCCEEDED]
    for line in others:
        typer.echo(f"Error: run {line.id} is {line.state}: {one_line(line.reason)}", err=True)
    if others:
        raise typer.Exit(1)
