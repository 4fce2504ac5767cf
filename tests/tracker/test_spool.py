"""A worker's copies of tensor files: whole or not there, and gone when nothing needs them."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from tracker.database.db import Sessions, transaction
from tracker.publishing import spool_cleanup
from tracker.publishing.spool import CannotKeep, Spool
from tracker.store import publications, runs, tensors
from tracker.store.tensors import StoredTensor
from tracker.tables import PublicationRow

from .conftest import MakeRun

DAY = 24 * 3600


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "home" / "spool")


def names(spool: Spool) -> set[str]:
    return {copy.name for copy in spool.copies()}


def grow_older(spool: Spool, name: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(spool.folder / name, (then, then))


def test_a_file_is_kept_under_its_hash_and_for_its_owner_alone(spool: Spool) -> None:
    name = spool.put(b"a tensor")
    assert name == hashlib.sha256(b"a tensor").hexdigest()
    path = spool.path(name)
    assert path is not None
    assert path.read_bytes() == b"a tensor"
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert spool.path("0" * 64) is None


def test_a_damaged_copy_is_none_and_writing_it_again_heals_it(spool: Spool) -> None:
    name = spool.put(b"a tensor")
    (spool.folder / name).write_bytes(b"a tensoR")
    assert spool.path(name) is None
    assert names(spool) == set()
    (spool.folder / name).write_bytes(b"")
    assert spool.put(b"a tensor") == name
    assert spool.path(name) is not None


def test_a_copy_that_was_written_again_is_not_removed(spool: Spool) -> None:
    name = spool.put(b"a tensor")
    grow_older(spool, name, 2 * DAY)
    (found,) = spool.copies()
    spool.put(b"a tensor")
    assert not spool.remove(found)
    (again,) = spool.copies()
    assert spool.remove(again)
    assert not spool.remove(again)
    assert names(spool) == set()


def test_a_worker_that_is_killed_while_it_writes_leaves_no_half_file_under_the_hash(
    spool: Spool,
) -> None:
    writing = (
        "import os, sys; from pathlib import Path; from tracker.publishing import spool;"
        "spool._write = lambda path, content: (path.write_bytes(content[:1]), os.kill(os.getpid(),"
        " 9)); spool.Spool(Path(sys.argv[1])).put(b'a tensor')"
    )
    done = subprocess.run([sys.executable, "-c", writing, str(spool.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    (draft,) = names(spool)
    assert spool.path(hashlib.sha256(b"a tensor").hexdigest()) is None
    assert draft.startswith(hashlib.sha256(b"a tensor").hexdigest() + ".")


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file of this process grows beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = 2**20
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    yield most
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_does_not_fit_leaves_nothing_and_says_where(
    spool: Spool, small_files: int
) -> None:
    with pytest.raises(CannotKeep, match=f"cannot be kept in {spool.folder}: File too large"):
        spool.put(bytes(small_files + 1))
    assert names(spool) == set()
    spool.put(bytes(1000))


def test_a_full_disk_is_named_and_serves_again_when_there_is_room(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool")
    small = spool.put(bytes(1000))
    with pytest.raises(CannotKeep, match=r"No space left on device\. Make room there"):
        spool.put(bytes(5_000_000))
    assert names(spool) == {small}
    assert spool.put(bytes(2000))


def test_a_folder_that_is_closed_to_the_worker_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where a folder should be")
    with pytest.raises(CannotKeep, match="File exists"):
        Spool(tmp_path / "spool").put(b"a tensor")


def stored(sessions: Sessions, run_id: UUID, sha256: str, *, published: bool) -> None:
    """A tensor of that run, verified by its publication or not yet."""
    tensor = StoredTensor(
        name=sha256[:8],
        axes=("prompt",),
        coordinates={},
        dtype="float32",
        shape=(8,),
        sha256=sha256,
        size_bytes=1,
        mlflow_path=f"tensors/{sha256[:8]}.safetensors",
    )
    with transaction(sessions) as session:
        runs.cancel(session, run_id)
        tensors.insert_tensors(session, run_id, [tensor])
        hold = publications.take(session, run_id)
        assert hold is not None
        if published:
            publications.published(session, run_id, hold)


def test_copies_go_a_day_after_their_publication_and_what_belongs_to_nothing_after_a_day(
    spool: Spool, sessions: Sessions, make_run: MakeRun
) -> None:
    old = {what: spool.put(what.encode()) for what in ("verified", "waiting", "nobody's")}
    young = {what: spool.put(what.encode() + b"!") for what in ("verified", "nobody's")}
    draft = f"{'0' * 64}.abcdef12"
    (spool.folder / draft).write_bytes(b"half")
    for name in (*old.values(), draft):
        grow_older(spool, name, 25 * 3600)
    stored(sessions, make_run().id, old["verified"], published=True)
    stored(sessions, make_run().id, young["verified"], published=True)
    stored(sessions, make_run().id, old["waiting"], published=False)
    assert spool_cleanup.sweep(sessions, spool) == len("verified" + "nobody's" + "half")
    assert names(spool) == {old["waiting"], *young.values()}
    assert spool_cleanup.sweep(sessions, spool) == 0


def test_a_copy_that_two_runs_share_waits_for_the_later_publication(
    spool: Spool, sessions: Sessions, make_run: MakeRun
) -> None:
    name = spool.put(b"the same bits")
    grow_older(spool, name, 25 * 3600)
    stored(sessions, make_run().id, name, published=True)
    stored(sessions, make_run().id, name, published=False)
    assert spool_cleanup.sweep(sessions, spool) == 0
    with transaction(sessions) as session:
        session.execute(update(PublicationRow).values(state="published"))
    assert spool_cleanup.sweep(sessions, spool) == len(b"the same bits")


def test_a_spool_that_is_too_large_loses_what_is_verified_the_oldest_first(
    spool: Spool, sessions: Sessions, make_run: MakeRun
) -> None:
    hours = {spool.put(bytes([hour]) * 100): hour for hour in (1, 2, 3, 4)}
    for name, hour in hours.items():
        grow_older(spool, name, hour * 3600)
    one, two, three, four = hours
    for name in (one, two, three):
        stored(sessions, make_run().id, name, published=True)
    stored(sessions, make_run().id, four, published=False)
    assert spool_cleanup.sweep(sessions, spool, most_bytes=300) == 100
    assert names(spool) == {one, two, four}
    grow_older(spool, one, 60)  # it may be on its way to MLflow
    assert spool_cleanup.sweep(sessions, spool, most_bytes=0) == 100
    assert names(spool) == {one, four}
