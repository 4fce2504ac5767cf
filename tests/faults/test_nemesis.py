"""Whatever breaks under load: no run is lost or done twice, and no number is stale or wrong."""

import time

from sqlalchemy import text

from tracker.database.db import transaction

from . import figures
from .conftest import Scale
from .crew import Crew
from .history import keep, kept_on_failure
from .load import People, without_faults
from .nemesis import Nemesis
from .recovery import recoveries
from .summary import refused, summary
from .world import World

WORKERS = 3
SHORT_LOAD = 45.0  # seconds
ALL_ENDED = 90.0  # seconds after the last fault was lifted
ALL_PUBLISHED = 900.0
LIVE = "SELECT count(*) FROM headbook.run WHERE finished_at IS NULL"
FAILED = "SELECT reason FROM headbook.run WHERE state = 'failed' AND reason NOT LIKE 'lost: %'"
UNPUBLISHED = "SELECT count(*) FROM headbook.publication WHERE state = 'pending'"


def none(world: World, query: str) -> bool:
    return asked_of(world, query) == [0]


def asked_of(world: World, query: str) -> list[object]:
    with transaction(world.sessions) as session:
        return list(session.scalars(text(query)))


def test_under_a_nemesis_nothing_is_lost_doubled_stale_or_wrong(world: World, scale: Scale) -> None:
    crew = Crew(world, workers=WORKERS)
    asked = without_faults(world)
    total = scale.runs or 10_000
    people = People(world, asked, seed=scale.seed, total=total, ahead=4 * WORKERS)
    nemesis = Nemesis(world, crew, people, seed=scale.seed, gap=5.0 if scale.runs else 1.8)
    begun = time.monotonic()
    with kept_on_failure(world, nemesis, seed=scale.seed):
        people.start()
        try:
            nemesis.strike(
                lambda: people.done or (not scale.runs and time.monotonic() > begun + SHORT_LOAD)
            )
        finally:
            people.close()
        assert people.error is None, people.error
        seconds = time.monotonic() - begun
        rest = nemesis.rest(lambda: none(world, LIVE), seconds=ALL_ENDED)
        if scale.runs:
            nemesis.rest(lambda: none(world, UNPUBLISHED), seconds=ALL_PUBLISHED)
        broken = world.broken(references=asked.references, unpublished_is_lost=bool(scale.runs))
        logs = "".join(each.read_text() for each in world.home.logs.glob("worker-*.log"))
        found = summary(
            world.sessions,
            broken=broken,
            recovered=recoveries(world.sessions, nemesis.hits),
            seed=scale.seed,
            asked=total,
            seconds=seconds,
            faults=dict(nemesis.counts),
            people=dict(people.counts),
            refused=refused(logs),
            rest=rest,
        )
        if scale.figures is not None:
            figures.keep_nemesis(scale.figures, found.as_json())
            keep(world, nemesis, scale.figures / "history")
        assert [str(each) for each in broken] == []
        assert asked_of(world, FAILED) == [], "faults are no reason for a run to fail at once"
        assert found.parts_per_kill <= 1
        assert found.runs >= len(people.clicks)
