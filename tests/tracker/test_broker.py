"""Settings of Celery that a worker's survival hangs on."""

from tracker import broker

SLOWEST_START = 60.0  # seconds; that of a fresh interpreter on a machine with no core to spare


def test_a_child_that_starts_slowly_is_not_killed_before_it_is_there() -> None:
    assert broker.celery_app().conf.worker_proc_alive_timeout > SLOWEST_START
