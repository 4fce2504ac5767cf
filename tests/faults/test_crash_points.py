"""A process may end, or stop for a while, at any point of a run: nothing is lost or doubled."""

import signal
from collections.abc import Sequence

from sqlalchemy import text

from tracker.database.db import transaction
from tracker.queueing import submission
from tracker.store.runs import made_by

from . import forks, stories, survivors
from .conftest import Record, Scale
from .crash_points import Point, places, points
from .peace import LONG
from .scene import Scene
from .stories import Act, Ends

QUEUES = "a person queues"
SHARE = 3  # of the places, one in so many is enough for a look


def queued(scene: Scene, at: Sequence[Point], by: Ends) -> list[Act]:
    """An act for each point, on a run of its own; who queues has none yet."""
    asked = [stories.request()] * sum(point.story != QUEUES for point in at)
    home = scene.place.home
    made = iter(submission.submit_all(asked, sessions=scene.sessions, home=home, **stories.BY))
    return [
        Act(
            point=point,
            run_id=None if point.story == QUEUES else next(made).run.id,
            signal=by,
            writer=f"w{number}",
        )
        for number, point in enumerate(at)
    ]


def queue_again(scene: Scene, acts: Sequence[Act]) -> None:
    """The people whose process ended while they queued click again, on the same form."""
    for act in acts:
        if act.run_id is None:
            submission.submit(
                stories.request(study="stories"),
                nonce=act.writer,
                sessions=scene.sessions,
                home=scene.place.home,
                **stories.BY,
            )


def found(scene: Scene, acts: Sequence[Act]) -> list[str]:
    """What the checker finds, with the point at which it went wrong."""
    with transaction(scene.sessions) as session:
        clicked = {act.writer: made_by(session, act.writer) for act in acts}
    at = {act.run_id or getattr(clicked[act.writer], "id", None): act.point for act in acts}
    return [f"{at.get(each.run_id)}: {each}" for each in scene.broken()]


def test_a_process_may_be_killed_at_any_point(scene: Scene, scale: Scale, record: Record) -> None:
    some = list(points()) if scale.long else list(places())[scale.seed % SHARE :: SHARE]
    acts = queued(scene, some, signal.SIGKILL)
    ends = forks.ends(acts, scene.place)
    assert [str(act.point) for act, end in zip(acts, ends, strict=True) if end != -9] == []
    queue_again(scene, acts)
    with forks.helped(scene.place):
        survivors.go_on(scene.second)
    assert found(scene, acts) == []
    again = scene.claimed_again()
    assert max(again.values()) == 1
    record(
        5,
        "SIGKILL before and after each step, and around each COMMIT",
        f"{len(acts)} of {len(acts)} points; no kill cost more than one part",
        crash_points=len(acts),
        claimed_again=sum(again.values()),
    )


@LONG
def test_a_process_may_stop_within_any_transaction_and_go_on_later(
    scene: Scene, scale: Scale, record: Record
) -> None:
    """Postgres ends the transaction; what the process would still commit is refused."""
    within = [each for each in (points() if scale.long else places()) if each.in_transaction]
    acts = queued(scene, within, signal.SIGSTOP)
    with forks.frozen(acts, scene.place) as stopped:
        assert [str(act.point) for act, it in zip(acts, stopped, strict=True) if not it] == []
        queue_again(scene, acts)
        with forks.helped(scene.place):
            survivors.go_on(scene.second)
        before = _written(scene)
    assert _written(scene) == before
    assert found(scene, acts) == []
    assert max(scene.claimed_again().values()) == 1
    record(
        18,
        "SIGSTOP within each transaction, SIGCONT once all has ended",
        f"{len(acts)} of {len(acts)} commits were refused",
        refused=len(acts),
        stale=0,
    )


def _written(scene: Scene) -> list[int]:
    """How many moves and writes there are."""
    count = "SELECT count(*) FROM faults.{}"
    with transaction(scene.sessions) as session:
        return [session.scalars(text(count.format(name))).one() for name in ("move", "written")]
