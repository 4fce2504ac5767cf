"""ScoreDescription prompt distributions, with the number of runs that use each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tracker.results.views import DISTRIBUTIONS


@dataclass(frozen=True, kw_only=True)
class DistributionLine:
    """A stored prompt distribution."""

    name: str
    hash: str
    size: int
    seed: int
    recipe: Mapping[str, Any]  # all of its fields
    runs: int
    created_at: datetime


def distributions(session: Session) -> list[DistributionLine]:
    """ScoreDescription prompt distributions, newest first, with the number of runs on each."""
    query = select(DISTRIBUTIONS).order_by(DISTRIBUTIONS.c.distribution_id.desc())
    return [
        DistributionLine(
            name=row.name,
            hash=row.hash,
            size=row.size,
            seed=row.recipe["seed"],
            recipe=row.recipe,
            runs=row.runs,
            created_at=row.created_at,
        )
        for row in session.execute(query)
    ]
