"""Claims: a worker's hold on a part of a run, or on the proof of a model."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class PartKind(StrEnum):
    PROMPTS = "prompts"  # measures a slice of the prompts
    FINISH = "finish"  # joins the slices; added when the last of them has succeeded


class PartClaim(NamedTuple):
    """A worker's hold on one part. A write with an old epoch is refused."""

    run_id: UUID
    number: int  # index in the run, from 0
    kind: PartKind
    epoch: int  # rises with every claim, release and reap
    start: int  # first prompt
    stop: int  # one past the last prompt


class ProofClaim(NamedTuple):
    """A worker's hold on the proof of a model. A write with an old epoch is refused."""

    model_id: int
    epoch: int
