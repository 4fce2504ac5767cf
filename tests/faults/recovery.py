"""How long it takes until a part whose worker was struck is worked on again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import text

from tracker.database.db import Sessions, transaction

# The part that a worker held at that moment, and when somebody claimed it next or the run ended.
_NEXT = """
WITH held AS (
  SELECT DISTINCT ON (run_id, part) run_id, part, seq, event, worker
  FROM headbook.run_event
  WHERE part IS NOT NULL AND at <= to_timestamp(:at)
  ORDER BY run_id, part, seq DESC
)
SELECT held.run_id, held.part, (
  SELECT extract(epoch FROM min(next.at)) - :at
  FROM headbook.run_event AS next
  WHERE next.run_id = held.run_id AND next.seq > held.seq AND (
    (next.part = held.part AND next.event IN ('running', 'succeeded'))
    OR (next.part IS NULL AND next.event IN ('succeeded', 'failed', 'cancelled')))
) AS seconds
FROM held WHERE event = 'running' AND starts_with(worker, :worker)
"""
_CLAIMS = """
SELECT count(*) AS claims, count(DISTINCT (run_id, part)) AS parts
FROM headbook.run_event WHERE part IS NOT NULL AND event = 'running'
"""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A worker that was struck, by how its name begins, and when (seconds since 1970)."""

    kind: str
    worker: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What a hit has cost: a part, and the seconds until it was claimed again or its run ended."""

    hit: Hit
    parts: int
    seconds: float | None  # None: it held nothing


def recoveries(sessions: Sessions, hits: Sequence[Hit]) -> list[Recovery]:
    with transaction(sessions) as session:
        found = []
        for hit in hits:
            rows = session.execute(text(_NEXT), {"at": hit.at, "worker": hit.worker}).all()
            seconds = [float(row.seconds) for row in rows if row.seconds is not None]
            found.append(Recovery(hit=hit, parts=len(rows), seconds=max(seconds, default=None)))
    return found


def claimed_again(sessions: Sessions) -> tuple[int, int]:
    """How many claims there were beyond the first of each part, and how many parts."""
    with transaction(sessions) as session:
        row = session.execute(text(_CLAIMS)).one()
    return row.claims - row.parts, row.parts


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """How many there are, their median, 95th percentile and the longest; nothing of nothing."""
    if not seconds:
        return {}
    middle, most = np.percentile(seconds, (50, 95)).tolist()
    return {"n": len(seconds), "p50": middle, "p95": most, "max": max(seconds)}
