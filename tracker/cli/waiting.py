"""Waits for runs to end, and shows their progress."""

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

_POLL_EVERY = 0.3  # seconds


def lines(run_ids: Sequence[UUID], sessions: Sessions) -> list[RunLine]:
    """The current state of the runs, in the order of `run_ids`."""
    with transaction(sessions) as session:
        by_id = {line.id: line for line in results.runs(session, ids=run_ids, limit=len(run_ids))}
    return [by_id[run_id] for run_id in run_ids]


def wait(run_ids: Sequence[UUID], sessions: Sessions, *, quiet: bool) -> list[RunLine]:
    """Show a progress bar until all runs have ended, through outages of the database."""
    read = partial(through_outages, partial(lines, run_ids, sessions))
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=quiet) as progress:
        runs = read()
        bar = progress.add_task("", total=sum(line.n_prompts for line in runs))
        while True:
            done = sum(line.done for line in runs)
            progress.update(bar, completed=done, description=_description(runs))
            if all(line.ended for line in runs):
                return runs
            time.sleep(_POLL_EVERY)
            runs = read()


def _description(runs: Sequence[RunLine]) -> str:
    if len(runs) > 1:
        return f"{sum(line.ended for line in runs)} of {len(runs)} runs have ended"
    (line,) = runs
    return one_line(line.reason) if line.reason and not line.ended else line.state.value


def exit_unless_succeeded(ended: Sequence[RunLine]) -> None:
    """Print why runs did not succeed, and exit with 1 if there are any."""
    unsuccessful = [line for line in ended if line.state is not RunState.SUCCEEDED]
    for line in unsuccessful:
        typer.echo(f"Error: run {line.id} is {line.state}: {one_line(line.reason)}", err=True)
    if unsuccessful:
        raise typer.Exit(1)
