"""Stored prompt distributions and how much they are used."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tracker.tables import DistributionRow, RunRow


@dataclass(frozen=True, kw_only=True)
class DistributionLine:
    """A stored prompt distribution."""

    name: str
    hash: str
    size: int
    seed: int
    recipe: Mapping[str, Any]  # every field of it
    runs: int
    created_at: datetime


def distributions(session: Session) -> list[DistributionLine]:
    """Stored prompt distributions, the newest first, with the number of runs over each."""
    used = select(func.count()).where(RunRow.distribution_id == DistributionRow.id)
    query = select(DistributionRow, used.scalar_subquery()).order_by(DistributionRow.id.desc())
    return [
        DistributionLine(
            name=row.name,
            hash=row.hash,
            size=row.size,
            seed=row.spec["seed"],
            recipe=row.spec,
            runs=count,
            created_at=row.created_at,
        )
        for row, count in session.execute(query)
    ]
