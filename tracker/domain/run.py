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
