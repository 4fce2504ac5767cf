"""What the queue costs: with many runs in it, per part, and from submission to the end.

    python tests/benchmarks/bench_queue.py [--most 10000] [--runs 200] [--skip-workers]

On a Postgres, a Valkey and an MLflow of its own, with their usual settings. First times of single
moves with 100, 1,000 … runs in the queue, then workers do runs of an analysis that does nothing.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "faults" / "plugin")]

import fault_analyses  # noqa: E402
import numpy as np  # noqa: E402
from sqlalchemy import func, select, text  # noqa: E402

from analyses import registry  # noqa: E402
from analyses.results import Measured  # noqa: E402
from tests.faults.world import TINY, World  # noqa: E402
from tracker import results  # noqa: E402
from tracker.database.db import transaction  # noqa: E402
from tracker.domain import PartClaim  # noqa: E402
from tracker.store import endings, models, parts, runs, scores  # noqa: E402
from tracker.tables import RunRow  # noqa: E402

REPEATS = 20
LEASE = 60.0
MS = 1e3


def p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20, method="inclusive")[-1]


def each(work: Callable[[], Any], times: int = REPEATS) -> list[float]:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken


FILL = """
WITH new AS (
  INSERT INTO headbook.run (id, fingerprint, analysis, analysis_version, engine_version, params,
    model_id, distribution_id, seed, priority, state, n_prompts, n_parts, created_by)
  SELECT gen_random_uuid(), gen_random_uuid()::text, analysis, analysis_version, engine_version,
    params, model_id, distribution_id, seed, priority, state, n_prompts, n_parts, created_by
  FROM headbook.run, generate_series(1, :count) WHERE id = :like
  RETURNING id
), parts AS (
  INSERT INTO headbook.part (run_id, number, kind, start, stop, state)
  SELECT new.id, number, kind, start, stop, 'queued' FROM new, headbook.part WHERE run_id = :like
)
INSERT INTO headbook.publication (run_id) SELECT id FROM new
"""


def fill(world: World, like: UUID, size: int) -> None:
    """Queue runs that are like a queued one until there are so many."""
    with transaction(world.sessions) as session:
        there = session.scalar(select(func.count()).where(RunRow.state == "queued")) or 0
        session.execute(text(FILL), {"count": size - there, "like": like})


def claimed(world: World) -> PartClaim:
    """What a worker without a model does between two parts."""
    with transaction(world.sessions) as session:
        (first, *_) = parts.waiting_runs(session, loaded=(), hint=None)
    with transaction(world.sessions) as session:
        found = parts.claim(session, first, worker="bench", lease=LEASE)
    assert found is not None
    return found


def in_transaction(world: World, work: Callable[..., Any]) -> Callable[[], Any]:
    def once() -> Any:
        with transaction(world.sessions) as session:
            return work(session)

    return once


def moves(world: World) -> dict[str, float]:
    """Medians of single moves, in milliseconds."""
    claims: list[PartClaim] = []
    submitted: list[UUID] = []
    taken = {
        "submit": each(lambda: submitted.append(world.submit(force=True).id)),
        "list 50": each(in_transaction(world, lambda session: results.runs(session, limit=50))),
        "claim": each(lambda: claims.append(claimed(world))),
        "ring 4": each(in_transaction(world, lambda session: runs.take_due(session, limit=4))),
        "cancel": each(lambda: world.cancel(submitted.pop())),
    }
    for claim in claims:
        with transaction(world.sessions) as session:
            endings.release(session, claim, reason="measured")
    return {name: median(seconds) * MS for name, seconds in taken.items()}


def flatness(world: World, most: int) -> dict[int, dict[str, float]]:
    like = world.submit().id
    found: dict[int, dict[str, float]] = {}
    size = 100
    print("queued    " + "".join(f"{name:>10}" for name in ("submit", "list 50", "claim")), end="")
    print(f"{'ring 4':>10}{'cancel':>10}   (median ms of {REPEATS})")
    while size <= most:
        fill(world, like, size)
        found[size] = moves(world)
        print(f"{size:<10}" + "".join(f"{ms:10.1f}" for ms in found[size].values()), flush=True)
        size *= 10
    return found


def of_a_part(world: World) -> dict[str, float]:
    """Claim, fence with the scores of four prompts, and commit, as shares of a part of 1 s."""
    run = world.submit(prompts=400, prompts_per_part=4)
    with transaction(world.sessions) as session:
        model = models.model_named(session, TINY)
    claims, commits = [], []
    for _ in range(90):
        start = time.perf_counter()
        claim = claimed(world)
        middle = time.perf_counter()
        with transaction(world.sessions) as session:
            parts.fence(session, claim, lease=LEASE)
            found = np.zeros(claim.stop - claim.start, np.float32)
            made = Measured(scores={fault_analyses.STEP: found})
            scores.insert_part_scores(session, claim, model.id, made)
            endings.finish_part(session, claim, provenance={})
        claims.append(middle - start)
        commits.append(time.perf_counter() - middle)
    world.cancel(run.id)
    shares = {"claim": median(claims) * MS, "fence, scores, commit": median(commits) * MS}
    for name, ms in shares.items():
        print(f"{name}: {ms:.1f} ms, {ms / 10:.1f} % of a part of 1 s")
    return shares


def through(world: World, workers: int, count: int) -> dict[str, float]:
    """Runs a second while a queue is worked on; then, one by one, from submission to the end."""
    world.clear()
    world.dispatcher()
    for _ in range(workers):
        world.worker(HEADBOOK_LEASE_SECONDS="60")  # nothing is to be lost
    world.ended([world.submit(seed=n).id for n in range(4 * workers)])  # all are warm
    start = time.perf_counter()
    queued = [world.submit().id for _ in range(count)]
    world.ended(queued, seconds=600)
    rate = count / (time.perf_counter() - start)
    single: list[float] = []
    for _ in range(REPEATS if workers == 1 else 0):
        begun = time.perf_counter()
        world.ended([world.submit(prompts_per_part=8).id])
        single.append(time.perf_counter() - begun)
    print(f"{workers} workers: {rate:.1f} runs a second ({count} runs of two parts)", flush=True)
    found = {"runs_per_s": round(rate, 2)}
    if single:
        print(
            f"submit to end, nothing to do: median {median(single) * MS:.0f} ms,"
            f" p95 {p95(single) * MS:.0f} ms"
        )
        found |= {"median_ms": round(median(single) * MS), "p95_ms": round(p95(single) * MS)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--skip-workers", action="store_true")
    asked = parser.parse_args()
    registry.all_analyses()
    registry._ANALYSES.update(fault_analyses.REGISTERED)
    world = World()
    try:
        report: dict[str, Any] = {"part_ms": of_a_part(world)}
        report["queued_ms"] = flatness(world, asked.most)
        if not asked.skip_workers:
            report["workers"] = {n: through(world, n, asked.runs) for n in (1, 4)}
        print(json.dumps(report))
    finally:
        world.close()


if __name__ == "__main__":
    main()
