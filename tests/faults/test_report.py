"""The page of figures: which are shown, and which commit each is of."""

import json
import subprocess
from pathlib import Path

import pytest

from . import figures, report
from .invariants import Harm

KILLS = {"n": 3, "p50": 1.0, "p95": 2.0, "max": 2.5}
FOUND = {
    "seed": 7,
    "asked": 30,
    "seconds": 60.0,
    "runs": 31,
    "states": {"succeeded": 31},
    "real": 4,
    "harmed": {harm.value: 0 for harm in Harm},
    "faults": {"worker killed": 3},
    "refused": 0,
    "kills": 3,
    "kills_of_a_part": 3,
    "parts_per_kill": 1,
    "parts": 60,
    "claimed_again": 3,
    "recovery": {"kills": KILLS},
    "rest": 1.0,
}


def measured(folder: Path, row: int, figure: str, *, commit: str | None = None) -> None:
    figures.add(folder, {"row": row, "fault": f"fault {row}", "figure": figure, "crash_points": 2})
    if commit is not None:
        *before, last = (folder / "figures.jsonl").read_text().splitlines()
        changed = json.dumps({**json.loads(last), "commit": commit})
        (folder / "figures.jsonl").write_text("\n".join([*before, changed]) + "\n")


def whole(folder: Path) -> str:
    found, nemesis = figures.read(folder)
    assert nemesis is not None
    return report.page(found, nemesis)


def test_a_figure_that_was_measured_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    measured(tmp_path, 5, "at first")
    measured(tmp_path, 7, "another")
    measured(tmp_path, 5, "at last")
    figures.keep_nemesis(tmp_path, FOUND)
    found, _ = figures.read(tmp_path)
    assert [(each["row"], each["figure"]) for each in found] == [(5, "at last"), (7, "another")]
    page = whole(tmp_path)
    assert "| 5 | fault 5 | at last |" in page
    assert "at first" not in page
    headline = json.loads(page.rpartition("```json\n")[2].removesuffix("\n```\n"))
    assert headline == {
        "runs": 31,
        "lost": 0,
        "doubled": 0,
        "stale": 0,
        "wrong": 0,
        "mutations_caught": 0,
        "crash_points": 4,
        "recovery_p50_s": 1.0,
        "recovery_p95_s": 2.0,
        "recovery_max_s": 2.5,
    }


def test_the_page_names_its_commit_and_the_rows_that_are_of_another(tmp_path: Path) -> None:
    asked = ("git", "rev-parse", "HEAD")
    head = subprocess.run(asked, check=True, capture_output=True, text=True).stdout[:12]
    figures.keep_nemesis(tmp_path, FOUND)
    measured(tmp_path, 7, "here")
    assert f"Measured at commit `{head}" in whole(tmp_path)
    measured(tmp_path, 5, "elsewhere", commit="0123456789ab")
    measured(tmp_path, 18, "elsewhere", commit="0123456789ab")
    assert "; rows 5, 18 at `0123456789ab`, seed 7." in whole(tmp_path)


@pytest.mark.parametrize("harm", ["lost", "wrong"])
def test_the_page_says_so_when_runs_were_harmed(tmp_path: Path, harm: str) -> None:
    bad = {**FOUND, "harmed": {**FOUND["harmed"], harm: 2}}  # type: ignore[dict-item]
    figures.keep_nemesis(tmp_path, bad)
    measured(tmp_path, 7, "here")
    page = whole(tmp_path)
    assert "**2 runs were harmed.**" in page
    assert f'"{harm}": 2' in page


def test_rows_that_were_measured_alone_are_renewed_in_the_page(tmp_path: Path) -> None:
    figures.keep_nemesis(tmp_path, FOUND)
    measured(tmp_path, 5, "at first", commit="0123456789ab")
    measured(tmp_path, 33, "few", commit="0123456789ab")
    measured(tmp_path, 34, "before", commit="0123456789ab")
    page = whole(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    measured(alone, 33, "many", commit="ba9876543210")
    measured(alone, 34, "after", commit="ba9876543210")
    found, nemesis = figures.read(alone)
    assert nemesis is None
    once = report.renewed(page, found)
    assert once == report.renewed(once, found)
    gone, new = set(page.splitlines()) - set(once.splitlines()), set(once.splitlines())
    assert {each for each in gone if each.startswith("|")} == {
        "| 33 | fault 33 | few |",
        "| 34 | fault 34 | before |",
    }
    assert {"| 33 | fault 33 | many |", "| 34 | fault 34 | after |"} < new
    assert "; rows 33, 34 at `ba9876543210`, seed 7." in once


def test_without_figures_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no figures\.jsonl in .*: run `make faults`"):
        figures.read(tmp_path)
