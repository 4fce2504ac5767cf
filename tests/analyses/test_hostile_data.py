"""Data that are made to take time and memory: refused by what they passed, or read in bounds."""

import os
import re
import socket
from typing import Any

import hostile_data_files
import pytest
from attacked import attack, built
from hostile_data_files import (
    CSV,
    GOOD,
    JSONL,
    PAIRS_CSV,
    PAIRS_JSONL,
    PAIRS_PARQUET,
    PARQUET,
)
from local_hub import COMMIT

from analyses.errors import Refused
from analyses.prompts import files
from analyses.prompts.bounds import Beyond, Bounds
from analyses.prompts.data import load
from analyses.prompts.distributions import DistributionSpec, build

pytestmark = pytest.mark.attack(38, "data files")

CASES = [
    *(("csv", each) for each in CSV),
    *(("jsonl", each) for each in JSONL),
    *(("parquet", each) for each in PARQUET),
    *(("jsonl", each) for each in PAIRS_JSONL),
    *(("csv", each) for each in PAIRS_CSV),
    *(("parquet", each) for each in PAIRS_PARQUET),
]


@pytest.mark.parametrize(
    ("kind", "hostile"), CASES, ids=[f"{kind}: {each.name}" for kind, each in CASES]
)
def test_a_file_is_refused_by_what_it_passed_or_read_within_bounds(tmp_path, kind, hostile):
    path = hostile_data_files.file(kind, hostile, tmp_path)
    ended = attack(built, {"data": f"file:{path}", **hostile.fields}, hostile.bounds)
    assert re.search(hostile.says, ended.said) if hostile.says else not ended.said
    assert len(ended.said) < 100_000
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


SPECIAL = [
    ("x.csv", os.mkfifo, "is a pipe, and only regular files are read"),
    ("x.jsonl", lambda path: path.symlink_to("/dev/zero"), "is a device, and only"),
    ("x.parquet", lambda path: path.symlink_to("/dev/full"), "is a device, and only"),
    ("x.csv", lambda path: path.symlink_to("/dev/stdin"), "only regular files are read|No f"),
    ("x.csv", lambda path: path.mkdir(), "is a folder, and only"),
    ("x.csv", lambda path: path.symlink_to(path), "No file at"),
    ("x.csv", lambda path: path.symlink_to("/proc/self/maps"), "is longer than its reported size"),
    (
        "x.jsonl",
        lambda path: path.symlink_to("/proc/self/environ"),
        "is longer than its reported size",
    ),
    ("x.parquet", lambda path: path.symlink_to("/proc/self/pagemap"), "cannot be read|holds more"),
    ("x.jinja", os.mkfifo, "is a pipe, and only"),
    (
        "x.jinja",
        lambda path: path.symlink_to("/proc/self/maps"),
        "is longer than its reported size",
    ),
    ("x.jinja", hostile_data_files.sparse(2**40), "has more than 20,000 characters"),
]


@pytest.mark.parametrize(("name", "make", "says"), SPECIAL)
def test_what_is_no_file_of_its_own_is_never_read(tmp_path, name, make, says):
    make(tmp_path / name)
    field = "template" if name.endswith(".jinja") else "data"
    ended = attack(built, {field: f"file:{tmp_path / name}"})
    assert re.search(says, ended.said)


def test_a_socket_is_no_file(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "x.csv"))
        assert (
            "is a socket, and only regular files are read"
            in attack(built, {"data": f"file:{tmp_path / 'x.csv'}"}).said
        )


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="only root reads the kernel's log")
def test_a_file_that_makes_its_reader_wait_is_refused(tmp_path):
    (tmp_path / "x.csv").symlink_to("/proc/kmsg")
    assert re.search(
        "is a special file|holds more", attack(built, {"data": f"file:{tmp_path}/x.csv"}).said
    )


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    """The rows that were read would be those of no file there ever was."""
    path = tmp_path / "x.jsonl"
    hostile_data_files.line()(path)
    with pytest.raises(Refused, match="was changed while it was read"):
        _read_while(path, lambda: hostile_data_files.again("", "{}\n", 100_000)(path))


def test_a_file_whose_time_is_put_back_was_changed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("question\nq\n")
    was = path.stat()

    def exchange():
        path.write_text("question\nr\n")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    with pytest.raises(Refused, match="was changed while it was read"):
        _read_while(path, exchange)


def _read_while(path, changing):
    with files.opened(path, most=1000) as file:
        file.read(5)
        changing()
        while file.read(1000):
            pass


def test_a_folder_of_too_many_files_is_refused_before_one_is_read(tmp_path):
    for number in range(2_000):
        (tmp_path / f"{number}.jsonl").touch()
    says = "more than 1,000 files and folders"
    assert says in attack(built, {"data": f"folder:{tmp_path}"}, {"entries": 1_000}).said


def test_links_and_pipes_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "none.csv").symlink_to(tmp_path / "none.csv")
    hostile_data_files.line()(tmp_path / "x.jsonl")
    assert not attack(built, {"data": f"folder:{tmp_path}"}).said


def test_files_of_a_folder_are_counted_together(tmp_path):
    for number in range(30):
        hostile_data_files.again("", "{}\n", 2_000)(tmp_path / f"{number}.jsonl")
    ended = attack(built, {"data": f"folder:{tmp_path}"}, {"bytes": 100_000})
    assert "more than 100,000 bytes of data" in ended.said


def test_a_data_set_of_the_hub_is_refused_before_it_is_fetched(hub_server, tmp_path):
    (tmp_path / "data").mkdir()
    hostile_data_files.sparse(2**40)(tmp_path / "data" / "test.parquet")
    (tmp_path / "README.md").touch()
    hub_server.data_sets["some/set"] = tmp_path
    with pytest.raises(Beyond, match="has 1,099,511,627,776 bytes of data"):
        load(DistributionSpec(data=f"hub:some/set@{COMMIT}"))
    assert not [path for path in hub_server.asked if path.endswith(".parquet")]


def test_every_bound_can_be_raised(tmp_path):
    path = tmp_path / "x.jsonl"
    hostile_data_files.line(choices=[str(n) for n in range(150)], answer="7")(path)
    spec = DistributionSpec(data=f"file:{path}", options=2, size=1)
    with pytest.raises(Refused, match="150 choices, and 100 are allowed; HEADBOOK_DATA_SCALE"):
        build(spec)
    assert build(spec, bounds=Bounds().scaled(2)).prompts


def test_one_process_reads_all_parquet_files_of_a_folder(tmp_path):
    columns: dict[str, Any] = {name: [cell] for name, cell in GOOD.items()}
    for number in range(20):
        hostile_data_files.table(**columns)(tmp_path / f"{number}.parquet")
    assert load(DistributionSpec(data=f"folder:{tmp_path}")).repeated == 19
