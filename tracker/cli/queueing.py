"""Queues runs from the command line, or shows what would be queued."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import typer

from analyses.plurals import counted
from tracker.cli import waiting
from tracker.cli.patience import while_busy
from tracker.cli.session import open_sessions
from tracker.cli.terminal import print_table
from tracker.database.db import Sessions
from tracker.domain import RunRequest, RunState
from tracker.home.home import Home
from tracker.queueing import submission
from tracker.queueing.planned_runs import usual_split
from tracker.queueing.submission import Checked, Outlook, Submitted
from tracker.results import RunLine
from tracker.settings.settings import Settings, user


@dataclass(frozen=True, kw_only=True)
class Queued:
    """The run of a request in its last known state, and the runs that it needs, by name."""

    cell: str
    new: bool
    run: RunLine
    inputs: Mapping[str, UUID]
    remarks: tuple[str, ...]  # how data and parameters were interpreted


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What queueing a request would do: find its run, or queue one after those it `needs`."""

    cell: str
    new: bool
    run: UUID | None
    state: RunState | None
    needs: tuple[str, ...]  # the analyses of runs that do not exist yet
    remarks: tuple[str, ...]


def queue(requests: Sequence[RunRequest], *, wait: bool, quiet: bool = False) -> list[Queued]:
    """Queue all runs or none, print them unless `quiet`, and with `wait` wait until they end."""
    _check_analyses(requests)
    with open_sessions(Settings()) as sessions:
        checked = _checked(requests, sessions)
        _print_warnings(checked)
        if not quiet:
            _print_remarks(checked)
        if len(checked) > 1 and not quiet:
            _print_ahead(checked, submission.outlook(checked, sessions=sessions))
        person = user()
        submitted = while_busy(
            lambda: submission.record(checked, created_by=person, sessions=sessions)
        )
        if not quiet:
            _print_queued(checked, submitted)
        ids = [each.run.id for each in submitted]
        lines = waiting.wait(ids, sessions, quiet=quiet) if wait else waiting.lines(ids, sessions)
    return [
        Queued(
            cell=request.name,
            new=each.new,
            run=line,
            inputs={name: run.id for name, run in each.inputs.items()},
            remarks=each.remarks,
        )
        for request, each, line in zip(checked, submitted, lines, strict=True)
    ]


def foresee(requests: Sequence[RunRequest], *, quiet: bool = False) -> list[Foreseen]:
    """What `queue` would do; nothing is written."""
    _check_analyses(requests)
    with open_sessions(Settings()) as sessions:
        checked = _checked(requests, sessions)
        ahead = submission.outlook(checked, sessions=sessions)
    _print_warnings(checked)
    if not quiet:
        _print_remarks(checked)
        _print_ahead(checked, ahead)
    return [_foreseen(each, of) for each, of in zip(checked, ahead, strict=True)]


def _check_analyses(requests: Sequence[RunRequest]) -> None:
    """Raises `Refused` if an analysis is unknown or broken, before any database is needed."""
    for analysis in dict.fromkeys(request.analysis for request in requests):
        usual_split(analysis)


def _checked(requests: Sequence[RunRequest], sessions: Sessions) -> list[Checked]:
    settings = Settings()
    return submission.check(
        requests,
        sessions=sessions,
        home=Home(settings.home),
        roots=settings.model_roots,
        data_roots=settings.data_roots,
        bounds=settings.data_bounds,
    )


def _print_warnings(checked: Sequence[Checked]) -> None:
    """Print each distinct warning once, to stderr."""
    runs = (run for each in checked for run in each.planned.with_inputs)
    for warning in dict.fromkeys(warning for run in runs for warning in run.warnings):
        typer.echo(f"Warning: {warning}", err=True)


def _foreseen(checked: Checked, ahead: Outlook) -> Foreseen:
    existing = ahead.existing
    return Foreseen(
        cell=checked.name,
        new=ahead.new,
        run=existing.id if existing else None,
        state=existing.state if existing else None,
        needs=tuple(each.analysis.name for each in ahead.inputs),
        remarks=checked.planned.remarks,
    )


def _print_remarks(checked: Sequence[Checked]) -> None:
    """Print each distinct remark on how data and parameters were interpreted once."""
    for remark in dict.fromkeys(remark for each in checked for remark in each.planned.remarks):
        typer.echo(remark)


def _print_ahead(checked: Sequence[Checked], ahead: Sequence[Outlook]) -> None:
    foreseen = [_foreseen(each, of) for each, of in zip(checked, ahead, strict=True)]
    print_table(
        ["request", "already exists", "needs first"],
        [
            (
                each.cell or request.request.analysis,
                f"{str(each.run)[:8]}, {each.state}" if each.run else "",
                ", ".join(each.needs),
            )
            for each, request in zip(foreseen, checked, strict=True)
        ],
        empty="",
    )
    typer.echo(_summary(checked, ahead))


def _summary(checked: Sequence[Checked], ahead: Sequence[Outlook]) -> str:
    new = {each.planned.fingerprint for each, of in zip(checked, ahead, strict=True) if of.new}
    needed = {each.fingerprint for of in ahead for each in of.inputs} - new
    existing = sum(not of.new for of in ahead)
    first = f", after {len(needed)} that they need" if needed else ""
    requests = counted(len(checked), "request")
    return f"{requests}: {existing} already exist, {len(new)} to be queued{first}."


def _print_queued(checked: Sequence[Checked], submitted: Sequence[Submitted]) -> None:
    for request, each in zip(checked, submitted, strict=True):
        outcome = "queued" if each.new else f"already exists, {each.run.state}"
        typer.echo(f"{each.run.id}: {outcome}" + (f"  {request.name}" if request.name else ""))
        if each.new and len(submitted) == 1:
            for name, run in each.inputs.items():
                typer.echo(f"  needs {name}: run {run.id} ({run.analysis}), {run.state}")
