"""`headbook runs logs`: the events of a run, and what its workers logged and printed."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from tracker import results
from tracker.cli.patience import through_outages
from tracker.cli.runs import RunId
from tracker.cli.session import open_sessions
from tracker.cli.terminal import AsJson, print_json, print_json_line
from tracker.cli.waiting import exit_unless_succeeded, lines
from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.errors import TrackerError
from tracker.results import LogLine
from tracker.results.log_lines import Read
from tracker.settings.settings import Settings
from tracker.store import runs as store

_POLL_EVERY = 1.0  # seconds
_INTERRUPTED = 130  # exit code after Ctrl-C


class UnknownPart(TrackerError):
    def __init__(self, run: Run, part: int) -> None:
        super().__init__(f"Run {run.id} has no part {part}. Its parts are 0 to {run.n_parts}.")


def logs(
    run: RunId,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Follow until the run ends; exit 1 if it did not succeed."
        ),
    ] = False,
    part: Annotated[
        int | None, typer.Option(min=0, help="Only this part; the last one finishes the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the events of a run, and what its workers logged and printed. Times are UTC.

    With both --follow and --json, every line is one JSON object.
    """
    with open_sessions(Settings()) as sessions:
        with transaction(sessions) as session:
            found = store.find_run(session, run)
        if part is not None and part > found.n_parts:
            raise UnknownPart(found, part)
        batches = _batches(sessions, found.id, part)
        if not follow:
            _show(next(batches), as_json=as_json)
            return
        try:
            for line in (line for batch in batches for line in batch):
                print_json_line(line) if as_json else typer.echo(results.as_text(line))
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        exit_unless_succeeded(through_outages(lambda: lines([found.id], sessions)))


def _batches(sessions: Sessions, run_id: UUID, part: int | None) -> Iterator[Sequence[LogLine]]:
    """The lines so far, then the new ones at every poll, until the log is complete."""
    read = results.BEGINNING
    while True:
        log = through_outages(partial(_since, sessions, run_id, part, read))
        yield log.lines
        if not log.live:
            return
        read = log.read
        time.sleep(_POLL_EVERY)


def _since(sessions: Sessions, run_id: UUID, part: int | None, read: Read) -> results.RunLog:
    with transaction(sessions) as session:
        return results.run_log(session, run_id, part=part, after=read)


def _show(lines: Sequence[LogLine], *, as_json: bool) -> None:
    if as_json:
        print_json(lines)
        return
    for line in lines:
        typer.echo(results.as_text(line))
    if not lines:
        typer.echo("Nothing has happened yet.")
