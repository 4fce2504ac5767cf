"""The sweep of families: a few of them in full, and that it tells what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import sweep_families
import tiny_families
from hooked_pass import HookedModel

from analyses.language_model import LanguageModel

SCRIPT = Path(sweep_families.__file__)


@pytest.mark.slow
def test_families_are_equal_to_hooked_passes_or_refused_in_words(tmp_path: Path) -> None:
    asked = "gpt2;llama, wide heads;bloom;deepseek_v3, narrow values"
    table = tmp_path / "families.md"
    swept = subprocess.run(
        [sys.executable, SCRIPT, "--only", asked, "--write", table],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = swept.stdout.splitlines()
    assert [line[:40].split("  ")[0] for line in lines[:4]] == asked.split(";")
    assert "equal" in lines[0]
    assert "equal" in lines[1]
    assert "'bloom' models does not go through" in lines[2]
    assert lines[3].split()[3] in (sweep_families.EQUAL, sweep_families.REFUSED)
    assert "| `bloom` | refused | The attention of" in table.read_text()


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    tiny_families.save("llama", tmp_path)
    return tmp_path


def test_another_models_logits_are_wrong(llama: Path, saved, loaded) -> None:
    lm = LanguageModel.load(saved("llama", num_hidden_layers=4))
    loaded.append(lm)
    hooked = HookedModel(llama, sweep_families.IDS)
    assert sweep_families.compared(lm, hooked)[0] == sweep_families.WRONG
    own = LanguageModel.load(llama)
    loaded.append(own)
    assert sweep_families.compared(own, hooked)[0] == sweep_families.EQUAL


@pytest.mark.slow
def test_what_ends_a_family_otherwise_than_by_a_sentence_is_told() -> None:
    code = """
import os, sys, time, sweep_families
ends = {"crash": lambda: os._exit(3), "raise": lambda: [][0], "hang": lambda: time.sleep(60)}
sweep_families.save = lambda family, _folder: ends[family]()
sweep_families.SECONDS = 1.0
sys.argv = ["sweep", "--only", ";".join(ends)]
sys.exit(sweep_families.main())
"""
    swept = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=False
    )
    assert swept.returncode == 1
    said = [line.split(maxsplit=2) for line in swept.stdout.splitlines()]
    assert [each[:2] for each in said[:3]] == [
        ["crash", "TRACEBACK"],
        ["raise", "TRACEBACK"],
        ["hang", "TRACEBACK"],
    ]
    assert said[0][2] == "its process ended with 3"
    assert said[1][2].startswith("IndexError: list index out of range (<string>")
    assert said[2][2] == "nothing came within 1 s"
