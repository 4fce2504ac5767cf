"""What people hand to commands is made to take time and memory: each is refused in a sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
from attacked import attack, checked, commanded

from tracker.database.db import Sessions, transaction
from tracker.store import runs
from tracker.store.runs import UnknownRun

pytestmark = pytest.mark.attack(38, "arguments, variables and parameters")

ASK = ("submit", "attribution", "--model", "m", "--distribution", "facts", "--split", "all")
SHOW = ("distributions", "show")
MANY = 10**30


def many(option: str, values: list[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


ARGUMENTS = {
    "prompts": (*SHOW, "facts", "--prompts", str(10**12)),
    "prompts of a grid": (*ASK, "--prompts", "5", "--prompts", str(10**12)),
    "digits": (*SHOW, "facts", "--prompts", "9" * 5000),
    "shots": (*SHOW, "facts", "--shots", str(10**9)),
    "options": (*SHOW, "facts", "--options", str(10**9)),
    "seed": (*SHOW, "facts", "--prompt-seed", "9" * 4000),
    "separators": (*SHOW, "facts", "--separators", "x" * 100_000),
    "columns": (*SHOW, "file:/x.csv", *many("--choices-column", ["x"] * 20_000)),
    "long column": (*SHOW, "file:/x.csv", "--question-column", "x" * 100_000),
    "long choices column": (*SHOW, "file:/x.csv", "--choices-column", "x" * 100_000),
    "long subject column": (*SHOW, "file:/x.csv", "--subject-column", "x" * 100_000),
    "parts of a name": (*SHOW, "a/" * 50_000),
    "files in a name": (*SHOW, "file:" + "/file:" * 20_000),
    "templates in a name": (*SHOW, "x/file:" + "/list:" * 20_000),
    "long labels": (*SHOW, "facts/chinchilla/list:" + "x" * 100_000),
    "many labels": (*SHOW, "facts/chinchilla/list:" + "x," * 50_000),
    "unknown data": (*SHOW, "x" * 3000),
    "path": (*SHOW, "file:/" + "x" * 900 + ".csv"),
    "folders": (*SHOW, "folder:" + "/x" * 400),
    "grid": (*ASK, *many("-p", [f"x{n}={m}" for n in range(9) for m in range(10)])),
    "wide grid": (*ASK, *many("-p", [f"x{n}={m}" for n in range(15_000) for m in (0, 1)])),
    "one option again": (*ASK, *many("-p", [f"layers={n}" for n in range(20_000)])),
    "one seed again": (*ASK, *many("--seed", [str(n) for n in range(20_000)])),
    "no parameter": (*ASK, "-p", "x" * 100_000),
    "deep parameter": (*ASK, "-p", "x=" + "[" * 100_000),
    "deep objects": (*ASK, "-p", "x=" + '{"a":' * 20_000),
    "unknown analysis": ("submit", "x" * 100_000, "--model", "m", "--distribution", "facts"),
    "analysis to show": ("analyses", "show", "x" * 100_000),
    "top": ("scores", "x", "--top", str(-MANY)),
    "limit": ("runs", "list", "--limit", str(MANY)),
    "part": ("runs", "logs", "x", "--part", "9" * 5000),
}  # fmt: skip


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=list(ARGUMENTS))
def test_an_argument_is_refused_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = attack(commanded, arguments, {"HEADBOOK_HOME": str(tmp_path)})
    assert "No database is known" not in ended.said
    assert 0 < len(ended.said) < 6000


def test_a_value_that_is_no_json_is_a_text(tmp_path: Path) -> None:
    """A number of more digits than Python reads, as well; the analysis refuses it then."""
    ended = attack(commanded, (*ASK, "-p", "x=" + "9" * 5000), {"HEADBOOK_HOME": str(tmp_path)})
    assert "No database is known" in ended.said


ENVIRONMENT = {
    "HEADBOOK_MEMORY_BUDGET": ["1e999", "9" * 5000, "9" * 400 + "EB", "10000000EB", "-1", "nan"],
    "HEADBOOK_MODEL_CACHE": ["1e999", "9" * 5000, "inf"],
    "HEADBOOK_DATA_SCALE": ["1e999", "0", str(MANY), "9" * 5000, "2.5", ""],
    "HEADBOOK_LEASE_SECONDS": ["inf", "nan", "1e308", "9" * 5000],
    "HEADBOOK_PART_SECONDS": ["inf", "1e999"],
    "HEADBOOK_GRACE_SECONDS": ["inf", "-1"],
    "HEADBOOK_DISPATCH_SECONDS": ["inf", "0"],
    "HEADBOOK_HOME": ["/x" * 5000, "x" * 300, "x" * 100_000],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in ENVIRONMENT.items() for value in values]
)
def test_a_variable_is_refused_in_a_sentence(tmp_path: Path, name: str, value: str) -> None:
    given = {"HEADBOOK_HOME": str(tmp_path), name: value}
    ended = attack(commanded, ("runs", "list"), given)
    assert f"{name} is" in ended.said
    assert len(ended.said) < 1000


PARAMS = {
    "many heads": ("subspace", {"heads": ["0.0"] * 100_000}),
    "bad heads": ("subspace", {"heads": ["x"] * 500}),
    "a long head": ("subspace", {"heads": ["1" * 100_000]}),
    "a head of other digits": ("subspace", {"heads": ["\u0661." + "\u0661" * 50_000]}),
    "deep heads": ("subspace", {"heads": [[[[[["0.0"]]]]]]}),
    "digits": ("attribution", {"batch_size": "9" * 5000}),
    "a large number": ("attribution", {"batch_size": 10**4000}),
    "infinity": ("categorise", {"importance": float("inf")}),
    "no number": ("categorise", {"importance": float("nan")}),
    "a long text": ("attribution", {"prompts": "x" * 1_000_000}),
    "a long name": ("attribution", {"x" * 100_000: 1}),
    "many names": ("attribution", {str(n): 1 for n in range(100_000)}),
    "ranks": ("subspace", {"ranks": list(range(100_000))}),
}


@pytest.mark.parametrize(("analysis", "params"), PARAMS.values(), ids=list(PARAMS))
def test_a_parameter_is_refused_in_a_sentence(analysis: str, params: dict[str, Any]) -> None:
    ended = attack(checked, analysis, params)
    assert re.match("InvalidParams: Parameters of", ended.said)
    assert len(ended.said) < 5000


def test_a_password_without_end_is_not_read(tmp_path: Path) -> None:
    command = ("db", "password", "headbook_reader")
    ended = attack(commanded, command, {"HEADBOOK_HOME": str(tmp_path)}, "/dev/zero")
    assert "contains a NUL byte" in ended.said
    path = tmp_path / "long"
    path.write_text("x" * 2_000_000)
    ended = attack(commanded, command, {"HEADBOOK_HOME": str(tmp_path)}, str(path))
    assert "The password is longer than 1000 bytes" in ended.said


@pytest.mark.parametrize("prefix", ["a" * 100_000, "x" * 100_000, "0" * 37, "%" * 1000])
def test_an_id_is_refused_before_the_database_is_asked(sessions: Sessions, prefix: str) -> None:
    with transaction(sessions) as session, pytest.raises(UnknownRun) as refused:
        runs.find_run(session, prefix)
    assert len(str(refused.value)) < 300
