"""Runs, what happened to them, the studies they belong to, and their mirror in MLflow."""

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from analyses.names import LONGEST
from tracker.domain import ACTIVE, TERMINAL, PublicationState, RunState
from tracker.tables.metadata import NOW, Id, Instant, Json, Row, is_name, one_of
from tracker.tables.models import ModelRow
from tracker.tables.prompts import DistributionRow

_ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
_LIVE = text("state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ACTIVE))))


class StudyRow(Row):
    __tablename__ = "study"
    __table_args__ = (
        CheckConstraint(is_name("name", most=LONGEST), name="name"),
        CheckConstraint(is_name("created_by", most=LONGEST), name="created_by"),
        {"comment": "A group of runs that were queued together."},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, comment="Name of the study on the wire.")
    name: Mapped[str] = mapped_column(unique=True, comment="What people call it.")
    created_by: Mapped[str] = mapped_column(comment="Who queued its first run.")
    created_at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When it was made.")


class RunRow(Row):
    __tablename__ = "run"
    __table_args__ = (
        one_of("state", RunState),
        CheckConstraint(f"(state IN ({_ENDED})) = (finished_at IS NOT NULL)", name="finished"),
        CheckConstraint("state <> 'failed' OR reason IS NOT NULL", name="failed_for_a_reason"),
        # A run that has ended stays as it is, whatever older versions called it.
        CheckConstraint(
            f"finished_at IS NOT NULL OR {is_name('analysis', most=LONGEST)}"
            f" AND {is_name('created_by', most=LONGEST)}",
            name="names",
        ),
        Index(
            "run_fingerprint_once",
            "fingerprint",
            unique=True,
            postgresql_where=text("state NOT IN ('failed', 'cancelled') AND rerun_of IS NULL"),
        ),
        Index(None, "fingerprint"),
        # What a dispatcher and a worker look at first, however long the queue is.
        Index("run_due", "priority", "dispatch_due_at", postgresql_where=_LIVE),
        Index("run_queue", "priority", "created_at", postgresql_where=_LIVE),
        Index("run_queue_of_model", "model_id", "priority", "created_at", postgresql_where=_LIVE),
        Index(None, "created_at"),
        {"comment": "One analysis of one model on one distribution, with its parameters and seed."},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, comment="Name of the run everywhere.")
    fingerprint: Mapped[str] = mapped_column(comment="Hash of all that the numbers depend on.")
    rerun_of: Mapped[UUID | None] = mapped_column(
        ForeignKey("headbook.run.id"), comment="The run of the same fingerprint this one repeats."
    )
    nonce: Mapped[str | None] = mapped_column(
        unique=True, comment="Set by a form: a second click on it makes no second run."
    )
    analysis: Mapped[str] = mapped_column(comment="Registered name of the analysis.")
    analysis_version: Mapped[int] = mapped_column(comment="Version of the analysis.")
    engine_version: Mapped[int] = mapped_column(comment="Version of what recorded the model.")
    params: Mapped[Json] = mapped_column(comment="Parameters, validated by the analysis.")
    model_id: Mapped[int] = mapped_column(ForeignKey(ModelRow.id), comment="The model.")
    distribution_id: Mapped[int] = mapped_column(
        ForeignKey(DistributionRow.id), comment="The prompt distribution."
    )
    seed: Mapped[int] = mapped_column(BigInteger, comment="Seed of the bootstrap.")
    priority: Mapped[int] = mapped_column(comment="0 now, 3 normal, 9 later.")
    state: Mapped[str] = mapped_column(comment="queued, running, finishing, or how it ended.")
    reason: Mapped[str | None] = mapped_column(comment="Why it failed or waits, in words.")
    n_prompts: Mapped[int] = mapped_column(comment="Prompts to measure.")
    n_parts: Mapped[int] = mapped_column(comment="Parts the prompts are cut into.")
    attempt: Mapped[int] = mapped_column(server_default="1", comment="Which try this is, from 1.")
    max_attempts: Mapped[int] = mapped_column(server_default="3", comment="Tries before it fails.")
    crashes: Mapped[int] = mapped_column(server_default="0", comment="Workers it has lost.")
    max_crashes: Mapped[int] = mapped_column(
        server_default="3", comment="Lost workers before it fails."
    )
    crashed_at: Mapped[Instant | None] = mapped_column(
        comment="When its last crash was counted; a part claimed before it counts for no more."
    )
    needs_memory: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="Bytes of memory it takes at the least; NULL: not known, or no model.",
    )
    refused_memory: Mapped[int | None] = mapped_column(
        BigInteger, comment="Bytes of the largest worker that was too small for it."
    )
    cancel_requested_at: Mapped[Instant | None] = mapped_column(comment="When a person cancelled.")
    dispatch_due_at: Mapped[Instant] = mapped_column(
        server_default=NOW, comment="When the dispatcher rings a worker for it; the outbox."
    )
    dispatch_count: Mapped[int] = mapped_column(
        server_default="0", comment="Rings since it last moved; each waits longer."
    )
    not_before: Mapped[Instant] = mapped_column(
        server_default=NOW, comment="No part is claimed before this."
    )
    provenance: Mapped[Json | None] = mapped_column(
        comment="Code version, library versions, device, dtype and flags it was measured with."
    )
    notes: Mapped[Json | None] = mapped_column(
        comment="Conventions of the analysis and warnings about the numbers."
    )
    created_by: Mapped[str] = mapped_column(comment="Who queued it.")
    created_at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When it was queued.")
    started_at: Mapped[Instant | None] = mapped_column(comment="When its first part was claimed.")
    finished_at: Mapped[Instant | None] = mapped_column(comment="When it ended.")


class StudyRunRow(Row):
    __tablename__ = "study_run"
    __table_args__ = (
        Index(None, "run_id"),
        {"comment": "Which runs belong to which studies."},
    )

    study_id: Mapped[UUID] = mapped_column(
        ForeignKey(StudyRow.id), primary_key=True, comment="The study."
    )
    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run."
    )


class RunEventRow(Row):
    __tablename__ = "run_event"
    __table_args__ = (
        Index(None, "run_id", "seq"),
        {"comment": "What happened to a run, append-only; written by triggers."},
    )

    seq: Mapped[Id] = mapped_column(BigInteger, comment="Order of events.")
    run_id: Mapped[UUID] = mapped_column(ForeignKey(RunRow.id), comment="The run.")
    part: Mapped[int | None] = mapped_column(
        comment="The part it happened to; NULL: the run itself."
    )
    at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When.")
    event: Mapped[str] = mapped_column(comment="The state that was entered.")
    epoch: Mapped[int | None] = mapped_column(BigInteger, comment="Epoch of the part after it.")
    worker: Mapped[str | None] = mapped_column(comment="The worker that holds or held the part.")
    reason: Mapped[str | None] = mapped_column(comment="Why, in words.")


class PublicationRow(Row):
    __tablename__ = "publication"
    __table_args__ = (
        one_of("state", PublicationState),
        Index(
            "publication_due",
            "due_at",
            postgresql_where=text("state = 'pending' AND due_at IS NOT NULL"),
        ),
        {"comment": "The state of a run's mirror in MLflow."},
    )

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run."
    )
    state: Mapped[str] = mapped_column(
        server_default=PublicationState.PENDING.value, comment="pending or published."
    )
    mlflow_experiment_id: Mapped[str | None] = mapped_column(comment="MLflow's experiment id.")
    mlflow_run_id: Mapped[str | None] = mapped_column(comment="MLflow's own run id.")
    attempts: Mapped[int] = mapped_column(server_default="0", comment="Tries to publish.")
    due_at: Mapped[Instant | None] = mapped_column(
        comment="When to try next; NULL while the run has not ended, or once MLflow has refused it."
    )
    held_until: Mapped[Instant | None] = mapped_column(
        comment="A worker is publishing it and is given up after this."
    )
    error: Mapped[str | None] = mapped_column(comment="Why the last try failed.")
    published_at: Mapped[Instant | None] = mapped_column(comment="When MLflow had it all.")
