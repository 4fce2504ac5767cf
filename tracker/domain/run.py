"""A run, as it is recorded."""

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
    fingerprint: str  # sha256 over everything that its numbers depend on
    analysis: str  # its registered name
    analysis_version: int  # raised when the analysis's numbers change
    engine_version: int  # raised when the recording of models changes numbers
    params: Mapping[str, Any]  # of the analysis, validated, with defaults filled in
    model_id: int
    distribution_id: int  # of its prompts
    seed: int  # of the bootstrap
    state: RunState
    reason: str | None  # why it failed, was cancelled, or waits again
    n_prompts: int
    n_parts: int  # parts of prompts; the finishing part is one more
    attempt: int  # from 1; rises with every failed attempt and crash
    max_attempts: int
    crashes: int  # how often workers were lost while they held its parts
    max_crashes: int
    created_by: str  # the person's name
    created_at: datetime
    started_at: datetime | None  # when its first part was first claimed
    finished_at: datetime | None  # when it reached a final state
