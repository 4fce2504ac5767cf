"""Tensors of parts: written in chunks under a claim, and put together bit by bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from psycopg import Binary
from sqlalchemy import event, func, select, text

from analyses.results import NamedTensor
from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.domain.run_notes import RunNotes
from tracker.queueing import dispatcher
from tracker.store import endings, part_tensors, runs
from tracker.store.part_tensors import UnequalParts
from tracker.store.parts import LeaseLost
from tracker.tables import CHUNK_BYTES, PartTensorChunkRow
from tracker.working.heartbeat import Beat
from tracker.working.part_tensors import DamagedPartTensor, JoinedTensors

from .conftest import MakeRun
from .part_work import claim, end_with, expire, write

MEGABYTE = 2**20


def nothing(done: int) -> None:
    """A beat that hears of nothing."""


def numbers(megabytes: float) -> NamedTensor:
    """So much for four prompts."""
    count = int(megabytes * MEGABYTE) // 16
    values = np.arange(4 * count, dtype=np.float32).reshape(4, count)
    return NamedTensor(values, ("prompt", "place"))


def n_chunks(sessions: Sessions) -> int:
    with transaction(sessions) as session:
        return session.scalars(select(func.count()).select_from(PartTensorChunkRow)).one()


@contextmanager
def statements(sessions: Sessions) -> Iterator[list[int]]:
    """The bytes that each statement carries inside the block."""
    sizes: list[int] = []

    def note(*given: Any) -> None:
        sizes.append(sum(len(each.obj) for each in given[3].values() if isinstance(each, Binary)))

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    yield sizes
    event.remove(engine, "before_cursor_execute", note)


def test_no_statement_carries_more_than_a_chunk_of_a_large_tensor(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(0, 4), (4, 8)])
    first, second = (claim(sessions, run.id) for _ in range(2))
    large = numbers(megabytes=17.5)
    with statements(sessions) as sizes:
        end_with(sessions, second, {"large": large})
    assert max(sizes) == CHUNK_BYTES
    assert sorted(filter(None, sizes)) == [MEGABYTE * 3 // 2, *[CHUNK_BYTES] * 4]
    end_with(sessions, first, {})
    joined = JoinedTensors(sessions, run, nothing)["large"].values
    np.testing.assert_array_equal(joined[4:], large.values)
    assert np.isnan(joined[:4]).all()


def test_the_database_takes_no_chunk_that_is_too_long(
    sessions: Sessions, make_run: MakeRun
) -> None:
    each = claim(sessions, make_run().id)
    with (
        pytest.raises(Exception, match="part_tensor_chunk_size_check"),
        transaction(sessions) as session,
    ):
        part_tensors.insert_chunk(session, each, "large", 0, bytes(CHUNK_BYTES + 1))


@pytest.mark.parametrize("way", ["transposed", "sliced", "big-endian", "empty", "repeated"])
def test_an_array_comes_back_however_it_lies_in_memory(
    sessions: Sessions, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    values = np.random.default_rng(0).normal(size=(8, 6, 5)).astype(np.float32)
    lies = {
        "transposed": np.asfortranarray(values),
        "sliced": np.repeat(values, 2, axis=2)[:, :, ::2],
        "big-endian": values.astype(">f4"),
        "empty": values[:, :0],
        "repeated": np.broadcast_to(values[:1], values.shape),
    }[way]
    monkeypatch.setattr("tracker.working.part_tensors.CHUNK_BYTES", 52)
    run = make_run(bounds=[(0, 8)])
    end_with(sessions, claim(sessions, run.id), {"t": NamedTensor(lies, ("prompt", "a", "b"))})
    joined = JoinedTensors(sessions, run, nothing)["t"].values
    np.testing.assert_array_equal(joined, lies)


def test_a_part_without_a_tensor_has_skipped_its_prompts(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    first, second = (claim(sessions, run.id) for _ in range(2))
    end_with(sessions, first, {})
    row = NamedTensor(np.arange(4, dtype=np.float32)[:, None], ("prompt", "label"))
    end_with(sessions, second, {"row": row})
    tensor = JoinedTensors(sessions, run, nothing)["row"].values
    np.testing.assert_array_equal(tensor[:, 0], [*[np.nan] * 4, 0, 1, 2, 3])


def test_sums_of_parts_are_added(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    for number in range(2):
        high, low = np.array([1.0, 3.0]), np.array([0.0, 2.0**-60])
        total = NamedTensor(np.stack([high + number, low]), ("sum", "place"))
        end_with(sessions, claim(sessions, run.id), {"total": total})
    joined = JoinedTensors(sessions, run, nothing)["total"]
    assert joined.is_sum
    np.testing.assert_array_equal(joined.values, [[3, 7], [0, 2.0**-59]])


class Killed(Exception):
    """The process ends here."""


def killed_after(chunks: int) -> Beat:
    left = iter(range(chunks))

    def beat(done: int) -> None:
        if next(left, None) is None:
            raise Killed

    return beat


def test_what_a_killed_worker_has_written_counts_for_nothing(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run(bounds=[(0, 4)], n_prompts=4)
    killed = claim(sessions, run.id)
    with pytest.raises(Killed):
        write(sessions, killed, {"first": numbers(1), "second": numbers(9)}, killed_after(2))
    assert n_chunks(sessions) == 3
    assert list(JoinedTensors(sessions, run, nothing)) == []
    expire(sessions, killed)
    assert dispatcher.reap(sessions) == [run.id]
    again = claim(sessions, run.id, worker="w2")
    other = NamedTensor(np.negative(numbers(1).values), ("prompt", "place"))
    end_with(sessions, again, {"first": other})
    assert dispatcher.remove_unneeded_chunks(sessions) == 3
    joined = JoinedTensors(sessions, run, nothing)
    assert list(joined) == ["first"]
    np.testing.assert_array_equal(joined["first"].values, other.values)


def test_chunks_of_a_worker_that_has_lost_its_part_are_refused(
    sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    zombie = claim(sessions, run.id)
    taken: list[int] = []

    def taken_meanwhile(done: int) -> None:
        taken.append(done)
        expire(sessions, zombie)
        dispatcher.reap(sessions)
        claim(sessions, run.id, worker="w2")

    with pytest.raises(LeaseLost):
        write(sessions, zombie, {"large": numbers(9)}, taken_meanwhile)
    assert taken == [4]
    assert n_chunks(sessions) == 1


def test_a_chunk_that_is_sent_twice_is_there_once(sessions: Sessions, make_run: MakeRun) -> None:
    """As when the answer to a commit is lost."""
    each = claim(sessions, make_run().id)
    for data in (b"once", b"once"):
        with transaction(sessions) as session:
            part_tensors.insert_chunk(session, each, "t", 0, data)
    assert n_chunks(sessions) == 1


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE headbook.part_tensor_chunk SET data = set_byte(data, 7, 7) WHERE number = 1",
        "UPDATE headbook.part_tensor_chunk SET data = substring(data FROM 2) WHERE number = 1",
        "DELETE FROM headbook.part_tensor_chunk WHERE number = 1",
        "UPDATE headbook.part_tensor SET sha256 = repeat('0', 64)",
    ],
)
def test_bytes_that_are_not_those_that_were_written_are_not_used(
    sessions: Sessions, make_run: MakeRun, harm: str
) -> None:
    run = make_run(bounds=[(0, 4)], n_prompts=4)
    end_with(sessions, claim(sessions, run.id), {"large": numbers(5)})
    with transaction(sessions) as session:
        session.execute(text(harm))
    joined = JoinedTensors(sessions, run, nothing)
    with pytest.raises(DamagedPartTensor, match=r"'large' of part 0 .* Queue the run again"):
        joined["large"]


def test_a_tensor_is_read_when_it_is_looked_up_and_not_before(
    sessions: Sessions, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(bounds=[(0, 4)], n_prompts=4)
    end_with(sessions, claim(sessions, run.id), {"small": numbers(1), "large": numbers(5)})
    beats: list[int] = []
    joined = JoinedTensors(sessions, run, beats.append)
    assert sorted(joined) == ["large", "small"]
    assert beats == []
    assert joined["small"].values.nbytes == MEGABYTE
    assert beats == [0]


def succeeds(sessions: Sessions, run: Run) -> None:
    last = claim(sessions, run.id)
    with transaction(sessions) as session:
        endings.finish_run(session, last, notes=RunNotes())


def fails(sessions: Sessions, run: Run) -> None:
    last = claim(sessions, run.id)
    with transaction(sessions) as session:
        endings.fail(session, last, reason="why")


def is_cancelled(sessions: Sessions, run: Run) -> None:
    with transaction(sessions) as session:
        runs.cancel(session, run.id)


@pytest.mark.parametrize("ends", [succeeds, fails, is_cancelled])
def test_chunks_are_removed_when_their_run_has_ended(
    sessions: Sessions, make_run: MakeRun, ends: Callable[[Sessions, Run], None]
) -> None:
    ended, goes_on = (make_run(bounds=[(0, 4)], n_prompts=4) for _ in range(2))
    for run in (ended, goes_on):
        end_with(sessions, claim(sessions, run.id), {"t": numbers(5)})
    assert dispatcher.remove_unneeded_chunks(sessions) == 0
    ends(sessions, ended)
    with transaction(sessions) as session:
        assert part_tensors.remove_unneeded_chunks(session, limit=1) == 1
    assert dispatcher.remove_unneeded_chunks(sessions) == 1
    assert n_chunks(sessions) == 2
    np.testing.assert_array_equal(
        JoinedTensors(sessions, goes_on, nothing)["t"].values, numbers(5).values
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "uint8", "bool"])
def test_tensors_of_parts_are_joined_along_the_prompts(
    sessions: Sessions, make_run: MakeRun, dtype: str
) -> None:
    run = make_run()
    values = (np.arange(8 * 2 * 3) % 2).reshape(8, 2, 3).astype(dtype)
    names = {"component": ("L00.H00", "L00.H01")}
    for each in [claim(sessions, run.id) for _ in range(2)]:
        mine = NamedTensor(values[each.start : each.stop], ("prompt", "component", "label"), names)
        end_with(sessions, each, {"shares": mine})
    joined = JoinedTensors(sessions, run, nothing)["shares"]
    assert joined.axes == ("prompt", "component", "label")
    assert joined.coordinates == names
    assert joined.values.dtype == values.dtype
    np.testing.assert_array_equal(joined.values, values)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_tensor_is_as_wide_as_that_of_the_widest_part(
    sessions: Sessions, make_run: MakeRun, parts: int
) -> None:
    """Rows of eight prompts of unequal lengths: a part knows only its own."""
    lengths = np.array([3, 1, 2, 2, 5, 4, 1, 1])
    step = 8 // parts
    run = make_run(bounds=[(n, n + step) for n in range(0, 8, step)])
    for each in [claim(sessions, run.id) for _ in range(parts)]:
        mine = lengths[each.start : each.stop]
        keys = np.arange(mine.max(), dtype=np.float32)
        values = np.where(keys < mine[:, None], keys, np.float32(np.nan))[:, None].repeat(2, 1)
        rows = NamedTensor(values, ("prompt", "component", "key"), {"component": ("a", "b")})
        end_with(sessions, each, {"rows": rows})
    joined = JoinedTensors(sessions, run, nothing)["rows"].values
    assert joined.shape == (8, 2, 5)
    expected = np.where(np.arange(5) < lengths[:, None], np.arange(5), np.float32(np.nan))
    for component in range(2):
        np.testing.assert_array_equal(joined[:, component], expected)


@pytest.mark.parametrize("way", ["integers", "names", "axes"])
def test_parts_that_cannot_be_joined_are_named(
    sessions: Sessions, make_run: MakeRun, way: str
) -> None:
    run = make_run()
    for number, each in enumerate([claim(sessions, run.id) for _ in range(2)]):
        width = 2 + number
        rows = {
            "integers": NamedTensor(np.zeros((4, width), dtype=np.int64), ("prompt", "key")),
            "names": NamedTensor(
                np.zeros((4, width)), ("prompt", "key"), {"key": ("a", "b", "c")[:width]}
            ),
            "axes": NamedTensor(
                np.zeros((4, *[1] * width)), ("prompt", "key", "a", "b")[: width + 1]
            ),
        }
        end_with(sessions, each, {"rows": rows[way]})
    with pytest.raises(UnequalParts, match=r"'rows' cannot be joined: they are \w+\[key"):
        JoinedTensors(sessions, run, nothing)
