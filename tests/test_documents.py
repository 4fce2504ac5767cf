"""What the documents say is there, and their SQL runs."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from stored_runs import add_distribution, add_model, finished_run

from analyses import registry
from analyses.bootstrap import Statistics
from analyses.quantities import Quantity
from analyses.results import Component, Kind, ScoreKey
from tracker.cli import app
from tracker.database.db import Sessions, transaction

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
METHODS = (ROOT / "docs/methods.md").read_text()
PATHS = re.compile(
    r"(?:\]\(|`)((?:analyses|app|docs|migrations|tests|tracker)/[\w./-]*|LICENSE)[)`]"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_a_document_exists(document: Path) -> None:
    missing = [path for path in PATHS.findall(document.read_text()) if not (ROOT / path).exists()]
    assert missing == []


def test_the_state_diagram_has_the_moves_that_the_database_allows() -> None:
    trigger = (
        (ROOT / "migrations/schema.sql").read_text().partition("FUNCTION headbook.guard_run")[2]
    )
    allowed = re.findall(
        r"OLD.state = '(\w+)' AND NEW.state IN \((.*?)\)", trigger.split("END $$")[0]
    )
    drawn = re.findall(r"^    (\w+) --> (\w+): ", ARCHITECTURE, re.MULTILINE)
    assert set(drawn) == {
        (origin, to) for origin, states in allowed for to in re.findall(r"\w+", states)
    }


def test_the_folders_of_the_tracker_stand_at_the_levels_of_their_contract() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = tools["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["tracker"])
    levels = re.findall(r"^\| (\d+) \| `tracker/(\w+)", ARCHITECTURE, re.MULTILINE)
    assert sorted((int(level), folder) for level, folder in levels) == sorted(
        (level, folder)
        for level, folders in enumerate(reversed(layers), start=1)
        for folder in folders.split(" | ")
    )


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_in_the_readme_exists(document: str) -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    known |= {group.name for group in app.registered_groups}
    named = set(re.findall(r"headbook ([a-z]+)\b(?! \()", (ROOT / document).read_text()))
    assert named - known == set()


QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
MEANS = (0.5, -2.0, None, 1.0)  # of the four heads of a layer


@pytest.fixture
def measured(sessions: Sessions) -> None:
    """Attribution of one model in two types of weights, twice in one; then of something else."""
    with transaction(sessions) as session:
        models = [add_model(session, dtype=dtype) for dtype in ("float32", "float16")]
        of = add_distribution(session)
        for number, (model, analysis) in enumerate(
            [
                (models[0], "attribution"),
                (models[0], "attribution"),
                (models[1], "attribution"),
                (models[1], "cumulative"),
            ]
        ):
            metric = "logit_attribution" if analysis == "attribution" else "order"
            scores = {
                ScoreKey(Component(kind=Kind.HEAD, layer=0, index=head), Quantity(metric)): (
                    Statistics(n=8, skipped=0, mean=mean, sem=0.1, ci_low=0.0, ci_high=1.0),
                    None,
                )
                for head, mean in enumerate(MEANS)
            }
            finished_run(session, model, of, analysis=analysis, scores=scores, seed=number)


def rows(sessions: Sessions, query: str) -> list[dict[str, Any]]:
    with transaction(sessions) as session:
        return [dict(row) for row in session.execute(text(query)).mappings()]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_readme_finds_something_whatever_ran_last(
    sessions: Sessions, measured: None, query: str
) -> None:
    assert rows(sessions, query)


def test_the_readme_asks_for_the_strongest_heads_of_the_last_attribution(
    sessions: Sessions, measured: None
) -> None:
    latest, of_each = (rows(sessions, query) for query in QUERIES)
    assert [(row["head"], row["mean"]) for row in latest] == [(1, -2), (3, 1), (0, 0.5), (2, None)]
    assert [(row["dtype"], row["place"], row["head"]) for row in of_each] == [
        (dtype, place, head)
        for dtype in ("float16", "float32", "float32")
        for place, head in ((1, 1), (2, 3), (3, 0))
    ]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_knows_the_targets_that_are_named(document: str) -> None:
    assert shutil.which("make")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([\w-]+)", (ROOT / document).read_text(), re.MULTILINE)
    assert set(named) <= targets


def test_the_page_of_methods_has_a_section_for_every_analysis() -> None:
    sections = re.findall(r"^## \d+\. `(\w+)`$", METHODS, re.MULTILINE)
    assert sorted(sections) == sorted(each.name for each in registry.shipped())


def test_the_page_of_methods_defines_the_metrics_of_behaviour_in_their_units() -> None:
    told = re.findall(r"^\| `(\w+)` \|.*\| ([\w ]+) \| (high|low) \|$", METHODS, re.MULTILINE)
    behaviour = registry.find("behaviour")
    assert sorted(told) == sorted(
        (each.metric, each.unit, each.better or "") for each in behaviour.stores
    )


def test_every_section_of_methods_that_the_code_cites_is_there() -> None:
    cited = {
        int(number)
        for folder in ("analyses", "tracker", "tests")
        for file in (ROOT / folder).rglob("*.py")
        for number in re.findall(r"docs/methods\.md, section (\d+)", file.read_text())
    }
    sections = {int(number) for number in re.findall(r"^## (\d+)\.", METHODS, re.MULTILINE)}
    assert cited
    assert cited <= sections
