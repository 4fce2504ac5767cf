"""Data that are made to take time and memory: refused by what they passed, or read within bounds."""

import re

import hostile_data_files
import pytest
from attacked import attack
from hostile_data_files import CSV, JSONL, PARQUET

from analyses.prompts.distributions import DistributionSpec, build

CASES = [
    *(("csv", each) for each in CSV),
    *(("jsonl", each) for each in JSONL),
    *(("parquet", each) for each in PARQUET),
]


def built(data: str, fields: dict[str, object]) -> None:
    build(DistributionSpec(data=data, **({"options": 2, "size": 1} | fields)))


@pytest.mark.parametrize(
    ("kind", "hostile"), CASES, ids=[f"{kind}: {each.name}" for kind, each in CASES]
)
def test_a_file_is_refused_by_what_it_passed_or_read_within_bounds(tmp_path, kind, hostile):
    path = hostile_data_files.file(kind, hostile, tmp_path)
    ended = attack(built, f"file:{path}", hostile.fields)
    print("COST", kind, hostile.name, ended.seconds, ended.memory)
    assert re.search(hostile.says, ended.said) if hostile.says else not ended.said
    assert len(ended.said) < 100_000
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
