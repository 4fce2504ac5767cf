"""Queueing runs: everything is checked at the door, then recorded in one transaction.

Nothing is told to the broker here: the row is the outbox, and the dispatcher rings for it. Torch
is never imported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from analyses import names
from analyses.errors import Refused
from analyses.prompts.bounds import Bounds
from analyses.prompts.distributions import DistributionSpec
from tracker.database.db import Sessions, transaction
from tracker.domain import Priority, Run
from tracker.errors import TrackerError
from tracker.home.home import Home
from tracker.queueing.planned_runs import PlannedRun, Planner
from tracker.queueing.run_records import Ledger, Terms
from tracker.store import inputs as input_store
from tracker.store import models as model_store
from tracker.store import runs as run_store
from tracker.store import studies as study_store

PROMPTS_PER_PART = 32


class InvalidRequest(TrackerError):
    """The request cannot be queued; the message is that of what was wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for: one run, with whatever runs it needs."""

    analysis: str
    model: str
    distribution: DistributionSpec
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    priority: Priority = Priority.NORMAL
    created_by: str
    study: str | None = None
    prompts_per_part: int = PROMPTS_PER_PART
    force: bool = False  # run again although the fingerprint is live or done
    nonce: str | None = None  # a form's: the same nonce never makes a second run
    cell: str = ""  # what tells it from others of its grid; a refusal names it


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A request that can be queued, and the run it asks for."""

    request: Request
    planned: PlannedRun


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What queueing a checked request would do; `inputs` would be queued before a new run."""

    there: Run | None  # the run that stands for it
    new: bool
    inputs: tuple[PlannedRun, ...]


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The run that stands for a request, and those it needs; `new` if this request made it."""

    run: Run
    new: bool
    inputs: Mapping[str, Run]
    study: UUID | None
    remarks: tuple[str, ...] = ()  # what was made of the data and the parameters, in sentences


def submit(
    request: Request, *, sessions: Sessions, home: Home, roots: Sequence[Path] = ()
) -> Submitted:
    """Record the run that is asked for, or find the one that is live or done already.

    Raises `InvalidRequest` for what the analyses refuse, `BadName`, and other `TrackerError`s.
    """
    (submitted,) = submit_all([request], sessions=sessions, home=home, roots=roots)
    return submitted


def submit_all(
    requests: Sequence[Request], *, sessions: Sessions, home: Home, roots: Sequence[Path] = ()
) -> list[Submitted]:
    """Record all that is asked for, or nothing where one of it is refused."""
    return record(check(requests, sessions=sessions, home=home, roots=roots), sessions=sessions)


def check(
    requests: Sequence[Request],
    *,
    sessions: Sessions,
    home: Home,
    roots: Sequence[Path] = (),
    bounds: Bounds | None = None,
) -> list[Checked]:
    """Find all requests possible; raises `InvalidRequest` and other `TrackerError`s.

    Data are read within the usual bounds where no others are given.
    """
    requests = [_named(request) for request in requests]
    with transaction(sessions) as session:
        asked = dict.fromkeys(request.model for request in requests)
        models = {name: model_store.model_named(session, name) for name in asked}
    planner = Planner(home=home, roots=roots, bounds=bounds or Bounds())
    checked = []
    for request in requests:
        try:
            planned = planner.plan(
                request.analysis,
                request.params,
                model=models[request.model],
                distribution=request.distribution,
                seed=request.seed,
            )
        except Refused as error:
            cell = f"{request.cell}: " if request.cell else ""
            raise InvalidRequest(f"{cell}{error}") from error
        checked.append(Checked(request=request, planned=planned))
    return checked


def _named(request: Request) -> Request:
    """The request with names as they are kept; raises `BadName`."""
    study = None if request.study is None else names.checked("study", request.study)
    person = names.checked("person who asks", request.created_by)
    return replace(request, study=study, created_by=person)


def outlook(checked: Sequence[Checked], *, sessions: Sessions) -> list[Outlook]:
    """What `record` would do now; nothing is written."""
    with transaction(sessions) as session:
        known = run_store.standing(session, _fingerprints(checked))
    return [_outlook(each, known) for each in checked]


def _outlook(checked: Checked, known: Mapping[str, Run]) -> Outlook:
    planned = checked.planned
    there = known.get(planned.fingerprint)
    if there is not None and not checked.request.force:
        return Outlook(there=there, new=False, inputs=())
    missing = {
        each.fingerprint: each
        for each in planned.with_inputs
        if each is not planned and each.fingerprint not in known
    }
    return Outlook(there=there, new=True, inputs=tuple(missing.values()))


def record(checked: Sequence[Checked], *, sessions: Sessions) -> list[Submitted]:
    """Record the runs of checked requests, and those they need, in one transaction."""
    with transaction(sessions) as session:
        ledger = Ledger(session, _fingerprints(checked))
        entered = [_enter(each, ledger) for each in checked]
        studies = _studies(session, checked, [run for run, _ in entered])
        return [
            Submitted(
                run=run,
                new=new,
                inputs=run_store.inputs(session, run.id),
                study=studies.get(each.request.study or ""),
                remarks=each.planned.remarks,
            )
            for each, (run, new) in zip(checked, entered, strict=True)
        ]


def _fingerprints(checked: Iterable[Checked]) -> set[str]:
    return {run.fingerprint for each in checked for run in each.planned.with_inputs}


def _enter(checked: Checked, ledger: Ledger) -> tuple[Run, bool]:
    """The run that stands for a request, and whether it is new."""
    request, planned = checked.request, checked.planned
    there = run_store.made_by(ledger.session, request.nonce) if request.nonce else None
    if there is None and not request.force:
        there = ledger.known.get(planned.fingerprint)
    if there is not None:
        return there, False
    terms = Terms(
        created_by=request.created_by,
        priority=request.priority,
        prompts_per_part=request.prompts_per_part,
    )
    return ledger.enter(planned, terms, nonce=request.nonce), True


def _studies(session: Session, checked: Sequence[Checked], runs: Sequence[Run]) -> dict[str, UUID]:
    """The studies that are named, with the runs and all that those need in them."""
    asked: dict[str, tuple[str, list[UUID]]] = {}
    for each, run in zip(checked, runs, strict=True):
        if each.request.study:
            asked.setdefault(each.request.study, (each.request.created_by, []))[1].append(run.id)
    return {
        name: study_store.add_to_study(
            session,
            name=name,
            created_by=created_by,
            runs=input_store.with_inputs(session, members),
        )
        for name, (created_by, members) in sorted(asked.items())
    }
