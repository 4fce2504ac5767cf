"""What people look at: lists and details for the command line and the app, read in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from analyses.results import Component, Kind
from tracker.domain import RunState
from tracker.store.runs import UnknownRun
from tracker.tables import (
    ComponentRow,
    DistributionRow,
    ModelRow,
    PartRow,
    PublicationRow,
    RunEventRow,
    RunRow,
    ScoreRow,
    StudyRow,
    StudyRunRow,
    WorkerRow,
)


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A run as a list shows it."""

    id: UUID
    analysis: str
    analysis_version: int
    model: str
    distribution: str
    distribution_hash: str
    params: Mapping[str, Any]
    seed: int
    state: RunState
    reason: str | None
    done: int  # prompts measured so far
    n_prompts: int
    attempt: int
    max_attempts: int
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None  # from start to end, or to now
    mlflow_experiment_id: str | None
    mlflow_run_id: str | None
    published: bool

    @property
    def ended(self) -> bool:
        return self.finished_at is not None


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
class RunDetail:
    """A run with all that is known about it but its scores."""

    line: RunLine
    fingerprint: str
    model_fingerprint: str
    model_revision: str
    dtype: str
    prompt_seed: int
    provenance: Mapping[str, Any]
    notes: Mapping[str, Any]
    studies: Mapping[UUID, str]
    events: tuple[RunEvent, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One metric of one component in one run."""

    component: Component
    metric: str
    site: str
    condition: str
    x: float
    n: int
    skipped: int
    mean: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class WorkerLine:
    """A worker process; `fresh` while its last sign of life is younger than a minute."""

    name: str
    device: str
    loaded_model: str | None
    busy_with: str | None
    last_seen: datetime
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class DistributionLine:
    """A stored prompt distribution."""

    name: str
    hash: str
    size: int
    seed: int
    runs: int
    created_at: datetime


def _run_lines() -> Select[*tuple[Any, ...]]:
    measured = func.coalesce(
        select(func.sum(PartRow.done)).where(PartRow.run_id == RunRow.id).scalar_subquery(), 0
    )
    end = func.coalesce(RunRow.finished_at, func.clock_timestamp())
    return (
        select(
            RunRow,
            ModelRow,
            DistributionRow,
            PublicationRow,
            measured.label("done"),
            func.extract("epoch", end - RunRow.started_at).label("seconds"),
        )
        .join(ModelRow, ModelRow.id == RunRow.model_id)
        .join(DistributionRow, DistributionRow.id == RunRow.distribution_id)
        .join(PublicationRow, PublicationRow.run_id == RunRow.id)
    )


def _line(row: Any) -> RunLine:
    run, model, distribution, publication, done, seconds = row
    return RunLine(
        id=run.id,
        analysis=run.analysis,
        analysis_version=run.analysis_version,
        model=model.name,
        distribution=distribution.name,
        distribution_hash=distribution.hash,
        params=run.params,
        seed=run.seed,
        state=RunState(run.state),
        reason=run.reason,
        done=int(done),
        n_prompts=run.n_prompts,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        created_by=run.created_by,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=None if seconds is None else float(seconds),
        mlflow_experiment_id=publication.mlflow_experiment_id,
        mlflow_run_id=publication.mlflow_run_id,
        published=publication.state == "published",
    )


def runs(
    session: Session,
    *,
    states: Sequence[RunState] = (),
    analysis: str | None = None,
    study: UUID | None = None,
    ids: Sequence[UUID] | None = None,
    limit: int = 100,
) -> list[RunLine]:
    """The newest runs; an empty `states` means every state, `ids` None every run."""
    query = _run_lines().order_by(RunRow.created_at.desc(), RunRow.id).limit(limit)
    if states:
        query = query.where(RunRow.state.in_(list(states)))
    if analysis:
        query = query.where(RunRow.analysis == analysis)
    if ids is not None:
        query = query.where(RunRow.id.in_(list(ids)))
    if study:
        query = query.join(StudyRunRow, StudyRunRow.run_id == RunRow.id)
        query = query.where(StudyRunRow.study_id == study)
    return [_line(row) for row in session.execute(query)]


def run_detail(session: Session, run_id: UUID) -> RunDetail:
    """All that is known about a run but its scores; raises `UnknownRun`."""
    row = session.execute(_run_lines().where(RunRow.id == run_id)).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    run, model, distribution = row[0], row[1], row[2]
    studies = session.execute(
        select(StudyRow.id, StudyRow.name)
        .join(StudyRunRow, StudyRunRow.study_id == StudyRow.id)
        .where(StudyRunRow.run_id == run_id)
        .order_by(StudyRow.created_at)
    )
    return RunDetail(
        line=_line(row),
        fingerprint=run.fingerprint,
        model_fingerprint=model.fingerprint,
        model_revision=model.revision,
        dtype=model.dtype,
        prompt_seed=distribution.spec["seed"],
        provenance=run.provenance or {},
        notes=run.notes or {},
        studies={study.id: study.name for study in studies},
        events=tuple(_events(session, run_id)),
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


def counts_by_state(session: Session) -> dict[RunState, int]:
    """How many runs are in each state; every state is there."""
    query = select(RunRow.state, func.count()).group_by(RunRow.state)
    found = dict(session.execute(query).all())
    return {state: found.get(state.value, 0) for state in RunState}


def scores(
    session: Session, run_id: UUID, *, kind: Kind | None = None, metric: str | None = None
) -> list[ScoreLine]:
    """The scores of a run, by component, metric and coordinate; none before it has succeeded."""
    query = (
        select(ScoreRow, ComponentRow)
        .join(ComponentRow, ComponentRow.id == ScoreRow.component_id)
        .where(ScoreRow.run_id == run_id)
        .order_by(
            ComponentRow.kind,
            ComponentRow.layer,
            ComponentRow.index,
            ScoreRow.metric,
            ScoreRow.site,
            ScoreRow.condition,
            ScoreRow.x,
        )
    )
    if kind:
        query = query.where(ComponentRow.kind == kind)
    if metric:
        query = query.where(ScoreRow.metric == metric)
    return [_score(row, component) for row, component in session.execute(query)]


def _score(row: ScoreRow, component: ComponentRow) -> ScoreLine:
    return ScoreLine(
        component=Component(
            kind=Kind(component.kind), layer=component.layer, index=component.index
        ),
        metric=row.metric,
        site=row.site,
        condition=row.condition,
        x=row.x,
        n=row.n,
        skipped=row.skipped,
        mean=row.mean,
        sem=row.sem,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
    )


def workers(session: Session) -> list[WorkerLine]:
    """Workers that have not said goodbye and were seen within the last hour, the latest first."""
    age = func.clock_timestamp() - WorkerRow.last_seen
    query = (
        select(WorkerRow, (age < func.make_interval(0, 0, 0, 0, 0, 1)).label("fresh"))
        .where(WorkerRow.stopped_at.is_(None), age < func.make_interval(0, 0, 0, 0, 1))
        .order_by(WorkerRow.last_seen.desc())
    )
    return [
        WorkerLine(
            name=row.name,
            device=row.device,
            loaded_model=row.loaded_model,
            busy_with=row.busy_with,
            last_seen=row.last_seen,
            fresh=fresh,
        )
        for row, fresh in session.execute(query)
    ]


def distributions(session: Session) -> list[DistributionLine]:
    """Stored prompt distributions, the newest first, with the number of runs over each."""
    used = select(func.count()).where(RunRow.distribution_id == DistributionRow.id)
    query = select(DistributionRow, used.scalar_subquery()).order_by(DistributionRow.id.desc())
    return [
        DistributionLine(
            name=row.name,
            hash=row.hash,
            size=row.size,
            seed=row.spec["seed"],
            runs=count,
            created_at=row.created_at,
        )
        for row, count in session.execute(query)
    ]


def strongest(lines: Sequence[ScoreLine], count: int) -> list[ScoreLine]:
    """The scores with the largest absolute means."""
    known = [line for line in lines if line.mean is not None]
    return sorted(known, key=lambda line: (-abs(line.mean or 0.0), line.component))[:count]
