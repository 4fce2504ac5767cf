"""A run, as recorded in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tracker.domain.states import RunState


@dataclass(frozen=True, kw_only=True)
class Run:
    """One analysis of one model on one prompt distribution."""

    id: UUID
    fingerprint: str  # SHA-256 of everything that its scores depend on
    analysis: str  # registered name
    analysis_version: int  # incremented when the analysis computes other numbers
    engine_version: int  # incremented when the engine records other activations
    params: Mapping[str, Any]  # of the analysis, validated, with defaults filled in
    model_id: int
    distribution_id: int  # of its prompts
    seed: int  # of the bootstrap
    state: RunState
    reason: str | None  # why it failed, was cancelled, or waits again
    n_prompts: int
    n_parts: int  # parts of prompts, not counting the finishing part
    attempt: int  # from 1; rises with every failed attempt and crash
    max_attempts: int
    crashes: int  # number of times that workers were lost while they held its parts
    max_crashes: int
    created_by: str  # name of the person
    created_at: datetime
    started_at: datetime | None  # when its first part was first claimed
    finished_at: datetime | None  # when it reached a final state
