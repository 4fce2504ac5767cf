"""What outlives many runs: schemas change under workers, and processes do not grow."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from tracker.database import schema
from tracker.database.db import transaction
from tracker.secrets.urls import with_psycopg

from . import footprint
from .actor import Actor
from .conftest import Record, Scale
from .crewed import Crewed, at_rest, claims, crewed, until
from .footprint import Footprint, Sample
from .peace import LONG
from .recovery import percentiles
from .world import World

pytestmark = LONG

# What a later version may bring, in a transaction that locks the tables workers write to.
LATER = '''
"""Columns, an index and a rule that the workers of the version before do not know."""

import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("run", sa.Column("cost", sa.Float()), schema="headbook")
    tries = sa.Column("tries", sa.Integer(), nullable=False, server_default="0")
    op.add_column("part", tries, schema="headbook")
    op.create_index("part_tries_idx", "part", ["tries"], schema="headbook")
    op.create_check_constraint("tries_check", "part", "tries >= 0", schema="headbook")


def downgrade() -> None:
    op.drop_column("part", "tries", schema="headbook")
    op.drop_column("run", "cost", schema="headbook")
'''
SMALL: dict[str, Any] = {"prompts": 4, "prompts_per_part": 4}
# After a quarter of the runs, along the line through what was seen: more would be a leak. MLflow's
# client keeps about 12 KB for each of 1,024 runs; a pool may come to its size late.
MAY_RISE = Footprint(rss_mb=20, fds=2, connections=2, keys=2)
DISTURBED = """
SELECT count(*) FROM headbook.run WHERE id = ANY(:runs) AND (crashes > 0 OR attempt > 1)
"""


@pytest.fixture(scope="module")
def crew(world: World) -> Crewed:
    return crewed(world, workers=2)


@pytest.fixture
def migrations(tmp_path: Path) -> Config:
    """Those of this version, and one of a version to come."""
    config = Config()
    config.set_main_option("script_location", "migrations:")
    head = ScriptDirectory.from_config(config).get_current_head()
    (tmp_path / "later.py").write_text(LATER.format(head=head))
    ours = Path(ScriptDirectory.from_config(config).versions)
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", f"{ours}:{tmp_path}")
    return config


def owner(world: World) -> str:
    """The database's address, of somebody who may change its schema."""
    return with_psycopg(world.postgres.embedded.url("headbook"))


def migrated(world: World, migrations: Config, how: schema.Migrate, revision: str) -> float:
    """Bring the schema there; how many seconds it took."""
    engine = create_engine(owner(world))
    begun = time.monotonic()
    try:
        schema.apply(engine, migrations, how, revision)
    finally:
        engine.dispose()
    return time.monotonic() - begun


def latest(migrations: Config) -> str:
    """The revision of this version."""
    later = ScriptDirectory.from_config(migrations).get_revision("later")
    return str(later.down_revision)


@contextmanager
def busy(crew: Crewed, runs: int) -> Iterator[list[UUID]]:
    """Inside the block workers work on runs; at its end all of them succeed."""
    slow = {"batch_size": 2, "pause": 0.1}
    ids = [crew.world.submit(params=slow).id for _ in range(runs)]
    until(lambda: len(claims(crew.world, ids)) >= 2, crew.world)
    yield ids
    at_rest(crew.world, ids)


def disturbed(world: World, ids: list[UUID]) -> int:
    with transaction(world.sessions) as session:
        return session.scalars(text(DISTURBED), {"runs": ids}).one()


def test_workers_go_on_while_a_later_schema_is_applied(
    crew: Crewed, migrations: Config, record: Record, scale: Scale
) -> None:
    world, times, seconds, cost = crew.world, 10 if scale.long else 2, [], 0
    this = latest(migrations)
    for _ in range(times):
        with busy(crew, 6) as ids:
            try:
                seconds.append(migrated(world, migrations, command.upgrade, "later"))
                time.sleep(0.5)
            finally:
                seconds.append(migrated(world, migrations, command.downgrade, this))
        cost += disturbed(world, ids)
    assert cost == 0
    assert crew.all_alive()
    assert world.broken() == []
    found = percentiles(seconds)
    record(
        29,
        "a later schema applied, and taken back, while workers of this version work",
        f"{6 * times} runs under {2 * times} migrations of {found['p50']:.2f} s each, none failed",
        runs=6 * times,
        failed=0,
        migration_p50_s=found["p50"],
        migration_max_s=found["max"],
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_workers_that_are_newer_than_the_schema_wait_for_it(
    crew: Crewed, migrations: Config, record: Record, scale: Scale, steps: int
) -> None:
    world, times, old, cost = crew.world, 5 if scale.long else 1, 3.0, 0
    this = latest(migrations)
    for _ in range(times):
        with busy(crew, 6) as ids:
            try:
                migrated(world, migrations, command.downgrade, f"{this}-{steps}")
                time.sleep(old)
            finally:
                schema.upgrade(owner(world))
        cost += disturbed(world, ids)
    assert cost == 0
    assert crew.all_alive()
    assert world.broken() == []
    record(
        29,
        f"workers that are {steps} revisions newer than the schema for {old:.0f} s, then upgraded",
        f"{6 * times} runs, none failed and none counted as crashed",
        runs=6 * times,
        failed=0,
    )


def processes(crew: Crewed) -> dict[str, tuple[Actor, psutil.Process]]:
    """Those that live long, by what they are, and whom they belong to."""
    worker, dispatcher = crew.workers[0], crew.dispatcher
    assert worker.child is not None
    return {
        "worker": (worker, psutil.Process(worker.pid)),
        "its child": (worker, worker.child),
        "dispatcher": (dispatcher, psutil.Process(dispatcher.pid)),
    }


def soak(crew: Crewed, *, runs: int, at_once: int) -> dict[str, list[Sample]]:
    """Do runs, some at once; what each process held after each time, of a child the longest life.

    A child is replaced after some tasks.
    """
    seen: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for done in range(at_once, runs + 1, at_once):
        at_rest(crew.world, [crew.world.submit(**SMALL).id for _ in range(at_once)])
        for what, (actor, process) in processes(crew).items():
            held = footprint.of(crew.world, actor, process)
            seen[what, process.pid].append(Sample(done, held))
    longest = sorted(seen.items(), key=lambda item: len(item[1]))
    return {what: samples for (what, _), samples in longest}


def test_many_runs_leave_no_process_larger(crew: Crewed, record: Record, scale: Scale) -> None:
    runs, at_once = (2000, 100) if scale.long else (40, 5)
    crew.workers[1].end()
    seen = soak(crew, runs=runs, at_once=at_once)
    scale.keep("footprints.json", json.dumps(seen, default=asdict, indent=1))
    warm = {what: footprint.warm(samples) for what, samples in seen.items()}
    rises = {what: footprint.rises(samples) for what, samples in warm.items()}
    assert {what: rise for what, rise in rises.items() if beyond(rise, MAY_RISE)} == {}
    assert crew.world.broken() == []
    for what, samples in warm.items():
        slope, held = footprint.slopes(samples), samples[-1].held
        record(
            30,
            f"{runs} short runs: {what}",
            f"RSS {held.rss_mb:.0f} MB {1000 * slope.rss_mb:+.1f} per 1,000 runs, {held.fds:.0f} "
            f"files {1000 * slope.fds:+.1f}, {held.connections:.0f} connections "
            f"{1000 * slope.connections:+.1f}, {held.keys:.0f} keys {1000 * slope.keys:+.1f}",
            runs=samples[-1].runs - samples[0].runs,
            **{f"{name}_per_1000": 1000 * each for name, each in asdict(slope).items()},
        )


def beyond(rise: Footprint, bound: Footprint) -> bool:
    return any(found > most for found, most in zip(astuple(rise), astuple(bound), strict=True))
