"""Queues runs: checks every request, then records all of them in one transaction.

Nothing is sent to the broker here: the run's row is the outbox from which the dispatcher sends
wake-ups. Torch is never imported.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from analyses import names
from analyses.errors import Refused
from analyses.prompts.bounds import Bounds
from tracker.database.db import Sessions, transaction
from tracker.domain import Run, RunRequest
from tracker.domain.options import told_apart
from tracker.domain.request import InvalidRequest as InvalidRequest
from tracker.home.home import Home
from tracker.queueing.planned_runs import PlannedRun, Planner
from tracker.queueing.run_records import Ledger, Terms
from tracker.store import inputs as input_store
from tracker.store import models as model_store
from tracker.store import runs as run_store
from tracker.store import studies as study_store

PROMPTS_PER_PART = 32


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A request that can be queued, and its planned run."""

    request: RunRequest
    planned: PlannedRun
    name: str = ""  # how it differs from the other requests that were checked with it


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What queueing a checked request would do; `inputs` would be queued before a new run."""

    existing: Run | None  # the run that already has its fingerprint
    new: bool
    inputs: tuple[PlannedRun, ...]


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The run of a request, and the runs it needs; `new` if this request created it."""

    run: Run
    new: bool
    inputs: Mapping[str, Run]
    study: UUID | None
    remarks: tuple[str, ...] = ()  # sentences on how data and parameters were interpreted


def submit(
    request: RunRequest,
    *,
    created_by: str,
    sessions: Sessions,
    home: Home,
    roots: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
    prompts_per_part: int = PROMPTS_PER_PART,
    nonce: str | None = None,
) -> Submitted:
    """Record the run of a request, or find the one that is active or has succeeded.

    A nonce, which a form sends, never creates a second run. Raises `InvalidRequest` if an analysis
    refuses the request, `BadName`, and other `TrackerError`s.
    """
    (submitted,) = record(
        check([request], sessions=sessions, home=home, roots=roots, data_roots=data_roots),
        created_by=created_by,
        sessions=sessions,
        prompts_per_part=prompts_per_part,
        nonce=nonce,
    )
    return submitted


def submit_all(
    requests: Sequence[RunRequest],
    *,
    created_by: str,
    sessions: Sessions,
    home: Home,
    roots: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
    prompts_per_part: int = PROMPTS_PER_PART,
) -> list[Submitted]:
    """Record every request, or none if any is refused."""
    checked = check(requests, sessions=sessions, home=home, roots=roots, data_roots=data_roots)
    return record(
        checked, created_by=created_by, sessions=sessions, prompts_per_part=prompts_per_part
    )


def check(
    requests: Sequence[RunRequest],
    *,
    sessions: Sessions,
    home: Home,
    roots: Sequence[Path] = (),
    data_roots: Sequence[Path] = (),
    bounds: Bounds | None = None,
) -> list[Checked]:
    """Check that every request can run, and plan its run.

    Models must be in `roots` and files of prompts in `data_roots`, if there are any. `bounds` limit
    the size of data files; by default they are the standard ones. Raises
    `InvalidRequest` and other `TrackerError`s.
    """
    with transaction(sessions) as session:
        model_names = dict.fromkeys(request.model for request in requests)
        models = {name: model_store.model_named(session, name) for name in model_names}
    for model in models.values():
        model_store.check_proof(model)
    planner = Planner(home=home, roots=roots, data_roots=data_roots, bounds=bounds or Bounds())
    checked = []
    for request, name in zip(requests, told_apart(requests), strict=True):
        try:
            planned = planner.asked(request, model=models[request.model])
        except Refused as error:
            raise InvalidRequest(f"{name}: {error}" if name else str(error)) from error
        checked.append(Checked(request=request, planned=planned, name=name))
    return checked


def outlook(checked: Sequence[Checked], *, sessions: Sessions) -> list[Outlook]:
    """What `record` would do now; nothing is written."""
    with transaction(sessions) as session:
        known = run_store.standing(session, _fingerprints(checked))
    return [_outlook(each, known) for each in checked]


def _outlook(checked: Checked, known: Mapping[str, Run]) -> Outlook:
    planned = checked.planned
    existing = known.get(planned.fingerprint)
    if existing is not None and not checked.request.force:
        return Outlook(existing=existing, new=False, inputs=())
    missing = {
        each.fingerprint: each
        for each in planned.with_inputs
        if each is not planned and each.fingerprint not in known
    }
    return Outlook(existing=existing, new=True, inputs=tuple(missing.values()))


def record(
    checked: Sequence[Checked],
    *,
    created_by: str,
    sessions: Sessions,
    prompts_per_part: int = PROMPTS_PER_PART,
    nonce: str | None = None,
) -> list[Submitted]:
    """Record the runs of checked requests, and those they need, in one transaction.

    `nonce` is allowed for a single request only.
    """
    person = names.checked("person who asks", created_by)
    with transaction(sessions) as session:
        ledger = Ledger(session, _fingerprints(checked))
        entered = []
        for each in checked:
            terms = Terms(
                created_by=person,
                priority=each.request.priority,
                prompts_per_part=prompts_per_part,
            )
            entered.append(_enter(each, ledger, terms, nonce=nonce))
        studies = _studies(session, checked, [run for run, _ in entered], created_by=person)
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


def _enter(
    checked: Checked, ledger: Ledger, terms: Terms, *, nonce: str | None
) -> tuple[Run, bool]:
    """The run of a request, and whether it is new."""
    existing = run_store.made_by(ledger.session, nonce) if nonce else None
    if existing is None and not checked.request.force:
        existing = ledger.known.get(checked.planned.fingerprint)
    if existing is not None:
        return existing, False
    return ledger.enter(checked.planned, terms, nonce=nonce), True


def _studies(
    session: Session, checked: Sequence[Checked], runs: Sequence[Run], *, created_by: str
) -> dict[str, UUID]:
    """Add the runs, and all runs they need, to the studies that requests name; ids by name."""
    by_name: dict[str, list[UUID]] = {}
    for each, run in zip(checked, runs, strict=True):
        if each.request.study:
            by_name.setdefault(each.request.study, []).append(run.id)
    return {
        name: study_store.add_to_study(
            session,
            name=name,
            created_by=created_by,
            runs=input_store.with_inputs(session, members),
        )
        for name, members in sorted(by_name.items())
    }
