"""A run with all that is known about it but its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tracker.domain import RunState
from tracker.domain.run_notes import RunNotes
from tracker.reports.run_lines import RunLine, line_of, run_lines
from tracker.store.runs import UnknownRun
from tracker.tables import RunEventRow, RunInputRow, RunRow, StudyRow, StudyRunRow

RunEnd = InstrumentedAttribute[UUID]


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """Something that happened to a run, or to one of its parts."""

    at: datetime
    part: int | None
    event: str
    epoch: int | None
    worker: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class LinkedRun:
    """A run that another needs or that needs it; `name` is what the result is called there."""

    name: str
    id: UUID
    analysis: str
    state: RunState


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """A run with all that is known about it but its scores."""

    line: RunLine
    fingerprint: str
    model_fingerprint: str
    n_layers: int
    n_heads: int  # of the layer with most
    heads_of: tuple[int, ...]  # of each layer
    n_kv_heads: int
    provenance: Mapping[str, Any]
    notes: RunNotes
    not_published: str | None  # why MLflow does not show it yet, where a try has failed
    studies: Mapping[str, str]  # names by id
    inputs: tuple[LinkedRun, ...]  # the runs that it needs
    dependants: tuple[LinkedRun, ...]  # the runs that need it
    events: tuple[RunEvent, ...]


def run_detail(session: Session, run_id: UUID) -> RunDetail:
    """All that is known about a run but its scores; raises `UnknownRun`."""
    row = session.execute(run_lines().where(RunRow.id == run_id)).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    run, model, _, publication = row[:4]
    studies = session.execute(
        select(StudyRow.id, StudyRow.name)
        .join(StudyRunRow, StudyRunRow.study_id == StudyRow.id)
        .where(StudyRunRow.run_id == run_id)
        .order_by(StudyRow.created_at)
    )
    return RunDetail(
        line=line_of(row),
        fingerprint=run.fingerprint,
        model_fingerprint=model.fingerprint,
        n_layers=model.n_layers,
        n_heads=model.n_heads,
        heads_of=tuple(layer["n_heads"] for layer in model.shapes or ())
        or (model.n_heads,) * model.n_layers,
        n_kv_heads=model.n_kv_heads,
        provenance=run.provenance or {},
        notes=RunNotes.from_json(run.notes),
        not_published=publication.error,
        studies={str(study.id): study.name for study in studies},
        inputs=_linked(session, RunInputRow.run_id, run_id, to=RunInputRow.needs_run_id),
        dependants=_linked(session, RunInputRow.needs_run_id, run_id, to=RunInputRow.run_id),
        events=tuple(_events(session, run_id)),
    )


def _linked(session: Session, end: RunEnd, run_id: UUID, *, to: RunEnd) -> tuple[LinkedRun, ...]:
    """The runs at the other ends of the links that have the run at one end."""
    query = (
        select(RunInputRow.name, RunRow.id, RunRow.analysis, RunRow.state)
        .join(RunRow, RunRow.id == to)
        .where(end == run_id)
        .order_by(RunRow.created_at, RunInputRow.name)
    )
    return tuple(
        LinkedRun(name=row.name, id=row.id, analysis=row.analysis, state=RunState(row.state))
        for row in session.execute(query)
    )


def _events(session: Session, run_id: UUID) -> list[RunEvent]:
    query = select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(RunEventRow.seq)
    return [
        RunEvent(
            at=row.at,
            part=row.part,
            event=row.event,
            epoch=row.epoch,
            worker=row.worker,
            reason=row.reason,
        )
        for row in session.scalars(query)
    ]
