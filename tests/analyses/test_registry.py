"""Analyses register by a decorator, are found by name, and come from other packages too."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analyses import registry
from analyses.pictures.plots import BadPlotName
from analyses.registry import (
    DuplicateAnalysis,
    InvalidParams,
    Params,
    UnknownAnalysis,
    analysis,
)
from analyses.results import Measured


class NoParams(Params):
    """None of its own."""


def _measure(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
    """Measures nothing."""
    return Measured(scores={})


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    registry.all_analyses()
    before = dict(registry._ANALYSES)
    yield
    registry._ANALYSES.clear()
    registry._ANALYSES.update(before)


def test_a_name_and_a_docstring_are_all_it_takes() -> None:
    @analysis("nothing", version=3, params=NoParams)
    def nothing(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """Measures nothing.

        And says so.
        """
        return Measured(scores={})

    found = registry.find("nothing")
    assert (found.version, found.summary) == (3, "Measures nothing.")
    assert found.function == f"{__name__}:nothing"


def test_what_a_docstring_says_after_its_first_line_is_the_description() -> None:
    @analysis("nothing", version=1, params=NoParams)
    def nothing(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """Measures nothing.

        With a formula:

            0 = 0
        """
        return Measured(scores={})

    assert registry.find("nothing").description == "With a formula:\n\n    0 = 0"


@pytest.mark.parametrize("name", ["Heads", "a/b", "../up", "x.png", "", "-x"])
def test_a_picture_whose_name_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(BadPlotName, match=r"of analysis 'pictured': .* such as 'strongest'"):
        analysis("pictured", version=1, params=NoParams, plots={name: "nowhere:draw"})(_measure)


def test_a_wrong_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UnknownAnalysis, match=r"Did you mean 'attribution'\? Known analyses: att"):
        registry.find("atribution")


def test_two_analyses_of_one_name_are_refused_and_both_are_named() -> None:
    def first(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        return Measured(scores={})

    def second(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        return Measured(scores={})

    register = analysis("twice", version=1, params=NoParams)
    register(first)
    register(first)  # the same module loaded again is no second analysis
    with pytest.raises(DuplicateAnalysis, match=r":first and .*:second\. Rename one"):
        register(second)
    assert registry.find("twice").function.endswith(":first")


def test_wrong_parameters_say_what_was_given_and_what_there_is() -> None:
    with pytest.raises(InvalidParams, match=r"batch_size: .*given: -1.*parameters are: batch_size"):
        registry.find("attribution").checked({"batch_size": -1})


PLUGIN = '''
from analyses.registry import Params, analysis
from analyses.results import Measured
from pydantic import Field

class LengthParams(Params):
    power: int = Field(1, ge=1, le=3, title="Power", description="Raised to this.")

@analysis("length", version=1, params=LengthParams)
def length(lm, prompts, params, progress):
    """How long the prompts are."""
    return Measured(scores={})
'''


def listed(folder: Path) -> subprocess.CompletedProcess[str]:
    """`headbook analyses list --json` in a process that finds packages in `folder` too."""
    return subprocess.run(
        [sys.executable, "-m", "tracker.cli", "analyses", "list", "--json"],
        env=os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def install(folder: Path, name: str, source: str) -> None:
    """What pip leaves behind for a package with one module and one entry point."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[headbook.analyses]\n{name} = {name}\n")


def test_another_package_adds_an_analysis_without_touching_our_code(tmp_path: Path) -> None:
    install(tmp_path, "length_plugin", PLUGIN)
    found = {each["name"]: each for each in json.loads(listed(tmp_path).stdout)}
    assert {"attention", "attribution", "behaviour", "length", "patching"} <= found.keys()
    assert found["length"]["summary"] == "How long the prompts are."
    assert found["length"]["params"]["properties"]["power"]["maximum"] == 3


def test_a_package_that_takes_our_name_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "thief", PLUGIN.replace('"length"', '"attribution"'))
    found = {each["name"]: each for each in json.loads(listed(tmp_path).stdout)}
    assert "Two analyses are named 'attribution'" in found["thief"]["broken"]
    assert found["attribution"]["function"] == "analyses.methods.attribution:attribution"


def test_finding_an_analysis_loads_no_torch() -> None:
    look = "import sys; from analyses import registry; registry.find('attribution');"
    code = f"{look} sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
