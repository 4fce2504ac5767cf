"""What the tracker is about, as plain frozen values: models, runs, parts and their states."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from analyses.checkpoints.shapes import LayerShape


class RunState(StrEnum):
    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # at least one part was claimed
    FINISHING = "finishing"  # all parts are in; scores are being put together
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # Run.reason says why
    CANCELLED = "cancelled"


class PartState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"  # under a lease
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PartKind(StrEnum):
    PROMPTS = "prompts"  # measures a slice of the prompts
    FINISH = "finish"  # puts the slices together; appears when the last of them is in


class LogLevel(StrEnum):
    """How loud a line of a run's log is, or the stream that it was printed to."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    STDOUT = "stdout"
    STDERR = "stderr"


class PublicationState(StrEnum):
    PENDING = "pending"  # MLflow does not show the run's end yet
    PUBLISHED = "published"


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ACTIVE = frozenset(RunState) - TERMINAL  # moves between them: migrations, headbook.guard_run


class Role(StrEnum):
    """A role of the database; migrations say what it may do."""

    WORKER = "headbook_worker"  # works, queues and cancels
    READER = "headbook_reader"  # reads the views of schema results


class Priority(StrEnum):
    """How soon a run should start, in words."""

    NOW = "now"
    NORMAL = "normal"
    LATER = "later"

    @property
    def rank(self) -> int:
        """The number the queue sorts by; lower goes first."""
        return {"now": 0, "normal": 3, "later": 9}[self.value]


class PartClaim(NamedTuple):
    """A worker's hold on one part. A write with an old epoch is refused."""

    run_id: UUID
    number: int
    kind: PartKind
    epoch: int
    start: int  # first prompt
    stop: int  # one past the last prompt


class SaidLine(NamedTuple):
    """A line that was logged or printed while a part was worked on."""

    at: float  # monotonic seconds of the worker
    level: LogLevel
    line: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model at a revision and a dtype."""

    id: int
    name: str
    ref: str
    revision: str
    dtype: str
    fingerprint: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    shapes: tuple[LayerShape, ...] | None  # None: added before they were kept
    n_embeddings: int | None = None
    max_positions: int | None = None
    trained_positions: int | None = None

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer as it ran when the model was proved, or all as its numbers say."""
        if self.shapes is not None:
            return self.shapes
        alike = LayerShape(
            n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, d_qk=self.d_head, d_v=self.d_head
        )
        return (alike,) * self.n_layers


@dataclass(frozen=True, kw_only=True)
class Run:
    """One analysis of one model on one prompt distribution."""

    id: UUID
    fingerprint: str
    analysis: str
    analysis_version: int
    engine_version: int
    params: Mapping[str, Any]
    model_id: int
    distribution_id: int
    seed: int
    state: RunState
    reason: str | None
    n_prompts: int
    n_parts: int
    attempt: int
    max_attempts: int
    crashes: int
    max_crashes: int
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
