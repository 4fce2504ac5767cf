"""The states of runs, of their parts, of publications and of proofs."""

from enum import StrEnum


class RunState(StrEnum):
    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # at least one part was claimed
    FINISHING = "finishing"  # all prompts are measured; scores are being joined
    SUCCEEDED = "succeeded"  # all scores and tensors are stored
    FAILED = "failed"  # Run.reason says why
    CANCELLED = "cancelled"  # by a person, or because a run that it needs ended badly


class PartState(StrEnum):
    QUEUED = "queued"  # waiting for a worker
    RUNNING = "running"  # claimed by a worker, under a lease
    SUCCEEDED = "succeeded"  # measured and committed
    FAILED = "failed"  # so the run failed
    CANCELLED = "cancelled"  # with its run, or because another part failed


class PublicationState(StrEnum):
    PENDING = "pending"  # MLflow does not show the run's end yet
    PUBLISHED = "published"  # MLflow shows the run as it ended


class ProofState(StrEnum):
    """Whether a worker has verified that a model's layers close and can be replayed."""

    UNPROVED = "unproved"  # waits for a worker
    PROVING = "proving"  # under a lease
    PROVED = "proved"
    REFUSED = "refused"  # Model.proof_reason says why


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
ACTIVE = frozenset(RunState) - TERMINAL  # for transitions see run_moves.MOVES
