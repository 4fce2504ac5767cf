"""A study file is checked as a whole: what is wrong is told with its line and nothing is queued."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attacked import attack
from sqlalchemy import func, select
from typer.testing import CliRunner, Result

from analyses.prompts.spec import DistributionSpec
from tracker.cli import app
from tracker.database.db import Sessions, transaction
from tracker.domain import InvalidRequest, Model, RunRequest, study_file
from tracker.domain.grid import TooManyCells
from tracker.home.home import Home
from tracker.tables import RunRow, StudyRow

from . import needing

STUDY = """
requests:
- analysis: sizes
  model: tiny
  recipe: {size: 8}
  study: scan
grids:  # a list is tried with each of its values
- analysis: shares
  model: tiny
  recipe: {name: [facts, colours], size: 8}
  parameters: {scale: [1, 2]}
"""


def refusal(text: str) -> str:
    with pytest.raises(InvalidRequest) as refused:
        study_file.read(text.encode())
    return str(refused.value)


def test_a_file_holds_requests_and_grids() -> None:
    first, *others = study_file.read(STUDY.encode())
    assert first == RunRequest(
        analysis="sizes", model="tiny", recipe=DistributionSpec(size=8), study="scan"
    )
    assert [(each.recipe.data, each.parameters["scale"]) for each in others] == [
        ("facts", 1),
        ("facts", 2),
        ("colours", 1),
        ("colours", 2),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("request: []", "line 1: Unknown key 'request'. Did you mean 'requests'?"),
        (STUDY.replace("model: tiny", "modl: tiny"), "line 4: Unknown key 'modl'."),
        (STUDY.replace("{size: 8}", "\n    sizes: 8"), "line 6: Unknown key 'sizes'."),
        (STUDY.replace("analysis: sizes", "seed: -1"), "line 3: Invalid request:"),
        (STUDY.replace("size: 8}", "shots: 9}"), "line 3: The distribution cannot be made: shots"),
        (STUDY.replace("scale: [1, 2]", "scale: []"), "line 8: The list of values for"),
        (STUDY.replace("[facts, colours]", "[facts, fact]"), "line 8: --distribution=fact -p"),
        (STUDY.replace("  study: scan", "  model: tiny"), "line 6: duplicate key 'model'"),
        (STUDY.replace("study: scan", "study: &x scan"), "line 6: anchors and aliases"),
        (STUDY.replace("study: scan", "study: !!python/name:os.system x"), "line 6: the tag"),
        (STUDY.replace("{size: 8}", "[size, 8]"), "line 5: Expected a mapping with some of name"),
        (STUDY.replace("study: scan", "parameters: {at: 2020-01-01}"), "line 3: Invalid request"),
        (STUDY.replace("study: scan", "parameters: {at: 2020-13-01}"), "line 6: month must"),
        (STUDY.replace("study: scan", "seed: 1" + "0" * 200), "line 6: a number has more than 100"),
        (STUDY.replace("study: scan", "? [a]\n  : b"), "line 6: a key must be one word"),
        ("requests: sizes", "line 1: Expected a list, got 'sizes'."),
        ("requests: {sizes: 1}", "line 1: Expected a list, got a mapping."),
        ("[1, 2]", "requests, grids, got a list."),
        ("- analysis: sizes", "line 1: Expected a mapping with some of requests, grids"),
        ("requests: []", "it contains no runs. List runs under 'requests:' or 'grids:'."),
        ("", "it contains no runs"),
        ("a: [", "line "),
        ("a: 1\n---\nb: 2", "line 2: but found another document."),
        ("\x00", "it is not YAML: "),
        ("requests: " + "[" * 5000, "are nested too deeply"),
        ("#" + " " * 600_000, "it is larger than 524,288 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, says: str) -> None:
    assert says in refusal(text)


def test_all_grids_of_a_file_are_counted_together() -> None:
    grid = f"- {{analysis: a, model: m, seed: {list(range(400))}}}\n"
    assert len(study_file.read(("grids:\n" + grid * 2).encode())) == 800
    with pytest.raises(TooManyCells, match="makes 1200 runs"):
        study_file.read(("grids:\n" + grid * 3).encode())


HOSTILE = {
    "deep lists": "requests: " + "[" * 500_000,
    "deep objects": "requests: " + "{a: " * 120_000,
    "deep blocks": "requests:\n" + "".join(f"{' ' * n}-\n" for n in range(1_000)),
    "sixties": "requests: 1" + ":1" * 250_000,
    "keys": "requests: {" + ", ".join(f"k{n}: 1" for n in range(50_000)) + "}",
    "entries": "requests: [" + "{}, " * 120_000 + "]",
    "names": "requests: [{analysis: " + "x" * 500_000 + ", model: m}]",
    "grids": "grids: [" + "{analysis: a, model: m, seed: [1, 2]}, " * 12_000 + "]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_a_file_that_would_take_time_or_memory_is_refused_in_a_sentence(text: str) -> None:
    ended = attack(study_file.read, text.encode())
    assert 0 < len(ended.said) < 2000


@pytest.fixture
def _here(
    database_url: str, home: Home, tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(home.root))
    with needing.registered():
        yield


def submit(*words: object) -> Result:
    return CliRunner().invoke(app, ["submit", *map(str, words)])


def count(sessions: Sessions, table: type = RunRow) -> int:
    with transaction(sessions) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


@pytest.mark.usefixtures("_here")
def test_a_file_is_queued_all_or_none(sessions: Sessions, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("scale: [1, 2]", "scale: [1, x]"))
    refused = submit("--file", path)
    assert "-p scale=x: Parameters of 'shares': scale" in str(refused.exception)
    assert count(sessions) == count(sessions, StudyRow) == 0
    path.write_text(STUDY)
    assert "5 requests: 0 already exist" in submit("--file", path, "--dry-run").stdout
    assert count(sessions) == 0
    assert submit("--file", path).exit_code == 0
    made = count(sessions)
    assert count(sessions, StudyRow) == 1
    assert "5 requests: 5 already exist" in submit("--file", path).stdout
    assert count(sessions) == made


@pytest.mark.usefixtures("_here")
def test_a_grid_that_was_printed_as_a_file_finds_its_own_runs(
    sessions: Sessions, tmp_path: Path
) -> None:
    grid: tuple[str | int, ...] = (
        "sizes",
        "--model",
        "tiny",
        "--distribution",
        "facts",
        "--prompts",
        8,
    )
    grid += ("-p", "rank=1", "-p", "rank=2", "--prompt-seed", 1, "--prompt-seed", 2)
    path = tmp_path / "study.yaml"
    path.write_text(submit(*grid, "--print", "yaml").stdout)
    assert count(sessions) == 0
    submit(*grid)
    assert count(sessions) == 4
    assert "4 requests: 4 already exist" in submit("--file", path).stdout
    commands = submit("--file", path, "--print", "command").stdout.splitlines()
    assert commands == submit(*grid, "--print", "command").stdout.splitlines()
    assert commands[0] == (
        "headbook submit sizes --model tiny --distribution facts --prompt-seed 1 --prompts 8 "
        "-p rank=1"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--file", "study.yaml", "--study", "mine"),
            "describes its runs completely. Leave out --file, or",
        ),
        (("--file", "no/such.yaml"), "no/such.yaml: No such file or directory."),
        ((), "Missing: an analysis, --model, --distribution. Name an analysis"),
        (("sizes", "--model", "m", "--shots", "1"), "Missing: --distribution."),
    ],
)
def test_what_is_missing_or_too_much_is_named(words: tuple[str, ...], says: str) -> None:
    assert says in str(submit(*words).exception)


def test_the_file_that_the_documentation_shows_is_read() -> None:
    page = Path(__file__).parents[2] / "docs" / "study-files.md"
    example = page.read_text().partition("```yaml\n")[2].partition("```")[0]
    one, patched, completions, own = 1, 2 * 2 * 2 * 2, 2, 2
    assert len(study_file.read(example.encode())) == one + patched + completions + own
