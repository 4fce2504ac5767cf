"""A run in full, except its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from tracker.domain import RunState
from tracker.domain.run_notes import RunNotes
from tracker.results.run_lines import LINE, RunLine, line_of
from tracker.results.views import MODELS, RUN_EVENTS, RUN_INPUTS, RUNS, STUDY_RUNS
from tracker.store.runs import UnknownRun

_MODEL = (
    MODELS.c.fingerprint.label("model_fingerprint"),
    *(MODELS.c.n_layers, MODELS.c.n_heads, MODELS.c.n_kv_heads, MODELS.c.shapes),
)
_RECORD = RUNS.c.fingerprint, RUNS.c.provenance, RUNS.c.notes, RUNS.c.publication_error


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
    """A run that another run needs, or that needs it; `name` is the name of the input."""

    name: str
    id: UUID
    analysis: str
    state: RunState


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """A run in full, except its scores."""

    line: RunLine
    fingerprint: str
    model_fingerprint: str
    n_layers: int
    n_heads: int  # the maximum over layers
    heads_of: tuple[int, ...]  # heads of each layer
    n_kv_heads: int
    provenance: Mapping[str, Any]
    notes: RunNotes
    not_published: str | None  # the last error of publishing it to MLflow
    studies: Mapping[str, str]  # names by id
    inputs: tuple[LinkedRun, ...]  # the runs that it needs
    dependants: tuple[LinkedRun, ...]  # the runs that need it
    events: tuple[RunEvent, ...]


def run_detail(session: Session, run_id: UUID) -> RunDetail:
    """A run in full, except its scores. Raises `UnknownRun`."""
    query = (
        select(*LINE, *_RECORD, *_MODEL)
        .join(MODELS, MODELS.c.model_id == RUNS.c.model_id)
        .where(RUNS.c.run_id == run_id)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    studies = session.execute(
        select(STUDY_RUNS.c.study_id, STUDY_RUNS.c.study)
        .where(STUDY_RUNS.c.run_id == run_id)
        .order_by(STUDY_RUNS.c.study_created_at)
    )
    return RunDetail(
        line=line_of(row),
        fingerprint=row.fingerprint,
        model_fingerprint=row.model_fingerprint,
        n_layers=row.n_layers,
        n_heads=row.n_heads,
        heads_of=tuple(layer["n_heads"] for layer in row.shapes or ())
        or (row.n_heads,) * row.n_layers,
        n_kv_heads=row.n_kv_heads,
        provenance=row.provenance or {},
        notes=RunNotes.from_json(row.notes),
        not_published=row.publication_error,
        studies={str(row.study_id): row.study for row in studies},
        inputs=_linked(session, RUN_INPUTS.c.run_id, run_id, to=RUN_INPUTS.c.input_run_id),
        dependants=_linked(session, RUN_INPUTS.c.input_run_id, run_id, to=RUN_INPUTS.c.run_id),
        events=tuple(_events(session, run_id)),
    )


def _linked(
    session: Session, end: ColumnElement[UUID], run_id: UUID, *, to: ColumnElement[UUID]
) -> tuple[LinkedRun, ...]:
    """The runs at the other end (`to`) of the links that have the run at `end`."""
    query = (
        select(RUN_INPUTS.c.name, RUNS.c.run_id, RUNS.c.analysis, RUNS.c.state)
        .join(RUNS, RUNS.c.run_id == to)
        .where(end == run_id)
        .order_by(RUNS.c.created_at, RUN_INPUTS.c.name)
    )
    return tuple(
        LinkedRun(name=row.name, id=row.run_id, analysis=row.analysis, state=RunState(row.state))
        for row in session.execute(query)
    )


def _events(session: Session, run_id: UUID) -> list[RunEvent]:
    query = select(RUN_EVENTS).where(RUN_EVENTS.c.run_id == run_id).order_by(RUN_EVENTS.c.seq)
    return [
        RunEvent(
            at=row.at,
            part=row.part,
            event=row.event,
            epoch=row.epoch,
            worker=row.worker,
            reason=row.reason,
        )
        for row in session.execute(query)
    ]
