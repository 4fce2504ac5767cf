"""The states of runs, of their parts and of their publication."""

from enum import StrEnum


class RunState(StrEnum):
    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # at least one part was claimed
    FINISHING = "finishing"  # all parts are in; scores are being put together
    SUCCEEDED = "succeeded"  # all scores and tensors are stored
    FAILED = "failed"  # Run.reason says why
    CANCELLED = "cancelled"  # by a person, or because a run that it needs ended badly


class PartState(StrEnum):
    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # claimed by a worker, under a lease
    SUCCEEDED = "succeeded"  # measured and committed
    FAILED = "failed"  # and with it the run
    CANCELLED = "cancelled"  # with its run, or because another part failed


class PublicationState(StrEnum):
    PENDING = "pending"  # MLflow does not show the run's end yet
    PUBLISHED = "published"  # MLflow shows the run as it ended


class ProofState(StrEnum):
    """Whether a worker has shown that a model's layers add up and can be replayed."""

    UNPROVED = "unproved"  # waits for a worker
    PROVING = "proving"  # under a lease
    PROVED = "proved"
    REFUSED = "refused"  # Model.proof_reason says why


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ACTIVE = frozenset(RunState) - TERMINAL  # moves between them: run_moves.MOVES
