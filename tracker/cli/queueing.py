"""Queueing at the command line: what would be queued, and what was."""

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
    """The run of a request, as it was last seen, and the runs that it needs, by name."""

    cell: str
    new: bool
    run: RunLine
    inputs: Mapping[str, UUID]
    remarks: tuple[str, ...]  # what was made of the data and the parameters


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What queueing a request would do: find its run, or make one after those it `needs`."""

    cell: str
    new: bool
    run: UUID | None
    state: RunState | None
    needs: tuple[str, ...]  # the analyses of runs that do not exist yet
    remarks: tuple[str, ...]


def queue(requests: Sequence[RunRequest], *, wait: bool, quiet: bool = False) -> list[Queued]:
    """Queue runs, all or none, print them unless `quiet`, and wait for them to end if asked."""
    _known(requests)
    with open_sessions(Settings()) as sessions:
        checked = _checked(requests, sessions)
        _print_warnings(checked)
        if not quiet:
            _print_remarks(checked)
        if len(checked) > 1 and not quiet:
            _print_ahead(checked, submission.outlook(checked, sessions=sessions))
        person = user()
        found = while_busy(lambda: submission.record(checked, created_by=person, sessions=sessions))
        if not quiet:
            _print_queued(checked, found)
        ids = [each.run.id for each in found]
        seen = waiting.wait(ids, sessions, quiet=quiet) if wait else waiting.lines(ids, sessions)
    return [
        Queued(
            cell=request.name,
            new=each.new,
            run=line,
            inputs={name: run.id for name, run in each.inputs.items()},
            remarks=each.remarks,
        )
        for request, each, line in zip(checked, found, seen, strict=True)
    ]


def foresee(requests: Sequence[RunRequest], *, quiet: bool = False) -> list[Foreseen]:
    """What `queue` would do; nothing is written."""
    _known(requests)
    with open_sessions(Settings()) as sessions:
        checked = _checked(requests, sessions)
        ahead = submission.outlook(checked, sessions=sessions)
    _print_warnings(checked)
    if not quiet:
        _print_remarks(checked)
        _print_ahead(checked, ahead)
    return [_foreseen(each, of) for each, of in zip(checked, ahead, strict=True)]


def _known(requests: Sequence[RunRequest]) -> None:
    """Raises `Refused` for an analysis that cannot be used, whether there is a database or not."""
    for analysis in dict.fromkeys(request.analysis for request in requests):
        usual_split(analysis)


def _checked(requests: Sequence[RunRequest], sessions: Sessions) -> list[Checked]:
    settings = Settings()
    return submission.check(
        requests,
        sessions=sessions,
        home=Home(settings.home),
        roots=settings.model_roots,
        bounds=settings.data_bounds,
    )


def _print_warnings(checked: Sequence[Checked]) -> None:
    """On stderr, each once, however many requests it is about."""
    runs = (run for each in checked for run in each.planned.with_inputs)
    for warning in dict.fromkeys(warning for run in runs for warning in run.warnings):
        typer.echo(f"Warning: {warning}", err=True)


def _foreseen(checked: Checked, ahead: Outlook) -> Foreseen:
    there = ahead.there
    return Foreseen(
        cell=checked.name,
        new=ahead.new,
        run=there.id if there else None,
        state=there.state if there else None,
        needs=tuple(each.analysis.name for each in ahead.inputs),
        remarks=checked.planned.remarks,
    )


def _print_remarks(checked: Sequence[Checked]) -> None:
    """How data and parameters were read, once where several requests share it."""
    for remark in dict.fromkeys(said for each in checked for said in each.planned.remarks):
        typer.echo(remark)


def _print_ahead(checked: Sequence[Checked], ahead: Sequence[Outlook]) -> None:
    foreseen = [_foreseen(each, of) for each, of in zip(checked, ahead, strict=True)]
    print_table(
        ["request", "already exists", "needs first"],
        [
            (
                each.cell or asked.request.analysis,
                f"{str(each.run)[:8]}, {each.state}" if each.run else "",
                ", ".join(each.needs),
            )
            for each, asked in zip(foreseen, checked, strict=True)
        ],
        empty="",
    )
    typer.echo(_summary(checked, ahead))


def _summary(checked: Sequence[Checked], ahead: Sequence[Outlook]) -> str:
    new = {each.planned.fingerprint for each, of in zip(checked, ahead, strict=True) if of.new}
    needed = {each.fingerprint for of in ahead for each in of.inputs} - new
    there = sum(not of.new for of in ahead)
    first = f", after {len(needed)} that they need" if needed else ""
    asked = counted(len(checked), "request")
    return f"{asked}: {there} already exist, {len(new)} to be queued{first}."


def _print_queued(checked: Sequence[Checked], found: Sequence[Submitted]) -> None:
    for request, each in zip(checked, found, strict=True):
        said = "queued" if each.new else f"already exists, {each.run.state}"
        typer.echo(f"{each.run.id}: {said}" + (f"  {request.name}" if request.name else ""))
        if each.new and len(found) == 1:
            for name, run in each.inputs.items():
                typer.echo(f"  needs {name}: run {run.id} ({run.analysis}), {run.state}")
