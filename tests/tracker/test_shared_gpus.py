"""A worker that spreads over GPUs and the workers of each of them never hold memory together."""

from collections.abc import Sequence

import pytest

from tracker.database.db import Sessions, transaction
from tracker.devices import Capability, Device
from tracker.domain import Model, Run
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.store import endings, next_work, parts, shared_gpus, workers
from tracker.working import room
from tracker.working.context import WorkerContext

from .conftest import MakeRun
from .part_work import claim, finish

GIB = 2**30


def up(sessions: Sessions, name: str, gpus: Sequence[str]) -> None:
    """A worker on A10Gs of these uuids."""
    able = Capability(
        devices=tuple(
            Device(kind="cuda", name="A10G", memory=24 * GIB, uuid=uuid) for uuid in gpus
        ),
        spreads=len(gpus) > 1,
        host_memory=64 * GIB,
    )
    with transaction(sessions) as session:
        workers.seen(
            session,
            name=name,
            host="h",
            pid=1,
            device="cuda",
            capability=able,
            only_above=24 * GIB if len(gpus) > 1 else None,
        )


def holds(sessions: Sessions, name: str, models: str | None) -> None:
    with transaction(sessions) as session:
        workers.works_on(session, name=name, run_id=None, loaded_model=models, device=None)


@pytest.fixture
def three(sessions: Sessions) -> None:
    """A worker of each of two GPUs, and one that spreads over both; another host has its own."""
    up(sessions, "w0", ["a"])
    up(sessions, "w1", ["b"])
    up(sessions, "all", ["a", "b"])
    up(sessions, "elsewhere", ["c"])


def takes(sessions: Sessions, name: str) -> bool:
    with transaction(sessions) as session:
        return bool(parts.waiting_runs(session, loaded=(), hint=None, worker=name))


def taken(sessions: Sessions, name: str = "all") -> bool:
    with transaction(sessions) as session:
        return shared_gpus.are_taken(session, worker=name)


def makes_room(sessions: Sessions, name: str) -> bool:
    with transaction(sessions) as session:
        errand = next_work.next_work(session, None, worker=name)
        room_is_made = shared_gpus.has_to_make_room(session, worker=name)
    assert not room_is_made or (errand is not None and errand.run_id == next_work.NO_RUN)
    return room_is_made


def bench_of(
    name: str, sessions: Sessions, home: Home, *, large_only: bool = False
) -> WorkerContext:
    return WorkerContext(
        name=name,
        sessions=sessions,
        aside=sessions,
        home=home,
        artifacts=ArtifactStore(
            mlflow=mlflow_client("http://127.0.0.1:9"), spool=Spool(home.spool)
        ),
        roots=(),
        device="cpu",
        large_runs_only=large_only,
    )


def test_while_a_worker_spreads_over_a_gpu_its_own_worker_claims_nothing(
    three: None, make_run: MakeRun, sessions: Sessions
) -> None:
    make_run(needs_memory=GIB)
    large = make_run(needs_memory=40 * GIB, bounds=[(0, 8)])
    assert [takes(sessions, each) for each in ("w0", "w1", "elsewhere")] == [True] * 3
    claimed = claim(sessions, large.id, "all")
    assert [takes(sessions, each) for each in ("w0", "w1", "elsewhere")] == [False, False, True]
    holds(sessions, "all", "big")
    with transaction(sessions) as session:
        endings.release(session, claimed, reason="stopped")
    assert not takes(sessions, "w0")  # its model is still there
    holds(sessions, "all", None)
    assert takes(sessions, "w0")


def test_a_run_is_finished_while_a_gpu_is_shared(
    three: None, make_run: MakeRun, sessions: Sessions
) -> None:
    run = make_run(needs_memory=40 * GIB, bounds=[(0, 8)])
    finish(sessions, claim(sessions, run.id, "all"))
    holds(sessions, "all", "big")
    assert takes(sessions, "w0")  # to put a run together takes no memory of a GPU


def test_a_worker_that_went_away_is_waited_for_no_longer(
    three: None, make_run: MakeRun, sessions: Sessions
) -> None:
    make_run(needs_memory=GIB)
    holds(sessions, "all", "big")
    assert not takes(sessions, "w0")
    with transaction(sessions) as session:
        workers.stopped(session, name="all")
    assert takes(sessions, "w0")


def test_a_worker_that_spreads_waits_until_the_others_are_done_and_hold_nothing(
    three: None, make_run: MakeRun, sessions: Sessions
) -> None:
    small = make_run(needs_memory=GIB)
    holds(sessions, "elsewhere", "one")
    assert not taken(sessions)
    claimed = claim(sessions, small.id, "w0")
    assert taken(sessions)
    assert not taken(sessions, "w1")
    with transaction(sessions) as session:
        endings.release(session, claimed, reason="stopped")
    holds(sessions, "w1", "one, two")
    assert taken(sessions)
    holds(sessions, "w1", None)
    assert not taken(sessions)


def test_an_idle_worker_that_holds_models_is_sent_to_drop_them(
    three: None, make_run: MakeRun, sessions: Sessions
) -> None:
    holds(sessions, "w0", "one")
    assert not makes_room(sessions, "w0")
    large: Run = make_run(needs_memory=40 * GIB)
    claim(sessions, large.id, "all")
    assert makes_room(sessions, "w0")
    assert not makes_room(sessions, "w1")  # it holds none
    holds(sessions, "w0", None)
    assert not makes_room(sessions, "w0")


def test_models_are_dropped_to_make_room_and_after_large_runs(
    three: None, sessions: Sessions, home: Home, tiny: Model
) -> None:
    mine = bench_of("w0", sessions, home)
    mine.language_model(tiny)
    holds(sessions, "w0", "tiny")
    room.make(mine)
    assert mine.loaded.names == ["tiny"]
    holds(sessions, "all", "big")
    room.make(mine)
    assert mine.loaded.names == []
    large = bench_of("all", sessions, home, large_only=True)
    large.language_model(tiny)
    room.make(large)
    assert large.loaded.names == []


def test_a_worker_that_spreads_reports_while_it_waits(
    three: None, sessions: Sessions, home: Home
) -> None:
    holds(sessions, "w0", "one")
    reported: list[int] = []

    def beat(done: int) -> None:
        reported.append(done)
        holds(sessions, "w0", None)

    room.wait_for(bench_of("all", sessions, home), beat)
    assert reported == [0]
