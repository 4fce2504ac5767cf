"""The states of runs, of their parts and of their publication."""

from enum import StrEnum


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


class PublicationState(StrEnum):
    PENDING = "pending"  # MLflow does not show the run's end yet
    PUBLISHED = "published"


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ACTIVE = frozenset(RunState) - TERMINAL  # moves between them: migrations, headbook.guard_run
