"""An option that is given again makes a grid, which is queued all or none."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import typer
from sqlalchemy import func, select
from tiny_llama import save_tiny_llama
from typer.testing import CliRunner, Result

from analyses.prompts.distributions import DistributionSpec
from tracker.cli import app, waiting
from tracker.database.db import Sessions, transaction
from tracker.domain import Grid, InvalidRequest, Model, RunRequest
from tracker.domain.grid import TooManyCells
from tracker.domain.options import told_apart
from tracker.home.home import Home
from tracker.queueing import models
from tracker.store import runs
from tracker.tables import DistributionRow, RunInputRow, RunRow, StudyRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from . import needing

BASE = ("--model", "tiny", "--distribution", "facts", "--prompts", "8")


@pytest.fixture(autouse=True)
def _here(
    database_url: str, home: Home, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Analyses that need each other, and the environment of commands."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(home.root))
    with needing.registered():
        yield


def submit(*words: str) -> Result:
    """The command, in this process, where the analyses are registered."""
    return CliRunner().invoke(app, ["submit", *words])


def count(sessions: Sessions, table: type = RunRow) -> int:
    with transaction(sessions) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_every_combination_is_a_cell_and_what_is_given_twice_counts_once() -> None:
    grid = Grid(analysis="sizes", model=["a", "b", "a"], seed=[3], parameters={"rank": [1, 2]})
    cells = grid.expand()
    assert told_apart(cells) == [
        "--model=a -p rank=1",
        "--model=a -p rank=2",
        "--model=b -p rank=1",
        "--model=b -p rank=2",
    ]
    assert cells[1] == RunRequest(analysis="sizes", model="a", seed=3, parameters={"rank": 2})
    assert told_apart(cells[:1]) == [""]
    many = Grid(analysis="sizes", model="a", seed=list(range(50)), recipe={"seed": list(range(50))})
    with pytest.raises(TooManyCells, match="makes 2500 runs, but at most 1000"):
        many.expand()


def test_every_field_may_have_several_values_and_a_list_in_a_list_is_one() -> None:
    grid = Grid(
        analysis=["attribution", "patching"],
        model="a",
        recipe={"name": ["facts", "colours/mmlu/numbers"], "shots": [0, 1]},
        parameters={"layers": [[0, 1], [2]]},
        study="scan",
    )
    cells = grid.expand()
    assert len(cells) == grid.count == 16
    assert cells[0] == RunRequest(
        analysis="attribution", model="a", parameters={"layers": [0, 1]}, study="scan"
    )
    last = DistributionSpec(data="colours", template="mmlu", labels="numbers", shots=1)
    assert (cells[-1].recipe, cells[-1].parameters) == (last, {"layers": [2]})
    with pytest.raises(InvalidRequest, match=r"list of values for recipe\.shots"):
        Grid(analysis="sizes", model="a", recipe={"shots": []}).expand()


def test_a_grid_is_shown_before_it_is_queued_and_again_finds_what_is_there(
    sessions: Sessions,
) -> None:
    grid = (*BASE, "--study", "scan", "-p", "rank=1", "-p", "rank=2", "-p", "rank=3")
    before = submit("sizes", *grid[:-2])
    assert "2 requests: 0 already exist, 2 to be queued." in before.stdout
    after = submit("sizes", *grid)
    assert "3 requests: 2 already exist, 1 to be queued." in after.stdout
    assert after.stdout.count("already exists, queued  -p rank=") == 2
    assert after.stdout.count(": queued  -p rank=3") == 1
    assert count(sessions) == 3


def test_runs_that_several_cells_need_are_counted_and_queued_once(sessions: Sessions) -> None:
    grid = (*BASE, "-p", "scale=1", "-p", "scale=2", "--distribution", "colours")
    shown = submit("shares", *grid, "--dry-run")
    assert "4 requests: 0 already exist, 4 to be queued, after 4 that they need" in shown.stdout
    assert count(sessions) == count(sessions, DistributionRow) == 0
    queued = json.loads(submit("shares", *grid, "--json").stdout)
    assert len({each["run"]["id"] for each in queued}) == 4
    assert (count(sessions), count(sessions, RunInputRow)) == (8, 8)
    assert queued[0]["inputs"] == queued[1]["inputs"]
    assert queued[0]["cell"] == "--distribution=facts -p scale=1"
    assert (queued[0]["run"]["reason"] or "").startswith("waiting for run")


def test_the_future_is_told_in_json_too(sessions: Sessions) -> None:
    (first, second) = json.loads(
        submit("shares", *BASE, "--seed", "1", "--seed", "2", "--dry-run", "--json").stdout
    )
    assert first == {
        "cell": "--seed=1",
        "new": True,
        "run": None,
        "state": None,
        "needs": ["sizes", "sizes"],
        "remarks": [],
    }
    submit("shares", *BASE, "--seed", "2")
    there = json.loads(submit("shares", *BASE, "--seed", "2", "--dry-run", "--json").stdout)
    assert (there["new"], there["state"], there["needs"]) == (False, "queued", [])
    assert second["new"]


def test_values_with_commas_and_lists_are_one_value_each(sessions: Sessions) -> None:
    ended = submit(
        "sizes",
        *("--model", "tiny", "--prompts", "8", "--distribution", "facts/chinchilla/list:W,X,Y,Z"),
        *("-p", "rank=[1]"),
    )
    assert isinstance(ended.exception, InvalidRequest)
    assert "given: [1]" in str(ended.exception)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-p", "rank=2", "-p", "rank=0"), "-p rank=0: Parameters of 'shares': rank"),
        (("-p", "rank=2", "-p", "rank=9"), "-p rank=9: rank: 9 is more than the 8 dimensions"),
        (("--options", "4", "--options", "99"), "--options=99: The distribution cannot be made"),
        (("--model", "no-d"), "--model=no-d: The label 'D' is not one token"),
        (("--model", "none"), "Model 'none' not found"),
    ],
)
def test_one_bad_cell_refuses_all_is_named_and_nothing_is_written(
    sessions: Sessions, home: Home, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    folder = tmp_path / "no-labels"
    save_tiny_llama(folder, seed=0, unknown="D")
    models.add_model(
        str(folder), name="no-d", dtype="float32", home=home, roots=(), sessions=sessions
    )
    ended = submit("shares", *BASE, "--study", "mine", *words)
    assert ended.exit_code == 1
    with pytest.raises(Exception, match=says):
        raise ended.exception or AssertionError
    assert sum(count(sessions, table) for table in (RunRow, DistributionRow, StudyRow)) == 0


def test_a_grid_is_waited_for_and_every_run_that_ended_badly_is_named(
    sessions: Sessions, bench: WorkerContext, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("sizes", *BASE, "-p", "rank=1", "-p", "rank=2")
    queued = json.loads(submit(*grid, "--json").stdout)
    first, second = [UUID(each["run"]["id"]) for each in queued]
    with transaction(sessions) as session:
        runs.cancel(session, second)
    work(bench, hint=None)
    ended = waiting.wait([second, first], sessions, quiet=True)
    assert [line.id for line in ended] == [second, first]
    with pytest.raises(typer.Exit):
        waiting.exit_unless_succeeded(ended)
    said = capsys.readouterr().err
    assert said == f"Error: run {second} is cancelled: cancelled by a person\n"
    waiting.exit_unless_succeeded(ended[1:])
    again = json.loads(submit(*grid[:-2], "--wait", "--json").stdout)
    assert again["run"]["state"] == "succeeded"


def test_a_forced_grid_runs_again_and_reuses_what_it_needs(sessions: Sessions) -> None:
    grid = ("shares", *BASE, "-p", "scale=1", "-p", "scale=2")
    submit(*grid)
    assert count(sessions) == 4
    assert "2 requests: 0 already exist, 2 to be queued." in submit(*grid, "--force").stdout
    assert count(sessions) == 6
