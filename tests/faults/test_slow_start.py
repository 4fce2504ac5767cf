"""A worker on a slow or busy machine gets to work."""

from .peace import LONG
from .world import World

pytestmark = LONG


def test_a_child_that_takes_six_seconds_to_start_is_waited_for(world: World) -> None:
    slow = {
        "at": "tracker.working.heartbeat:StopRequest.listen",
        "do": "fault_acts:sleep",
        "seconds": 6,
    }
    world.dispatcher()
    worker = world.worker(points=[slow])
    (line,) = world.ended([world.submit().id])
    assert line.state == "succeeded"
    assert "Timed out waiting for UP message" not in worker.said()
