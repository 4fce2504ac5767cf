"""The built package works in a bare environment, in the folder of somebody else's project."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest

from tracker.home.home import Home
from tracker.supervisor import postgres_place
from tracker.supervisor.postgres import EmbeddedPostgres

from .conftest import PACKAGES, ROOT


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own: `headbook db upgrade` revokes public rights and sets limits of roles."""
    home = Home(tmp_path / "server")
    home.make()
    made = EmbeddedPostgres(home, settings={"fsync": "off"})
    try:
        made.start()
        yield made
    finally:
        made.stop()
        postgres_place.remove(home)


def run(*command: str | Path, cwd: Path = Path("/"), **environment: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_the_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = next(name for name in names if ".dist-info/" in name).partition("/")[0]
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "headbook", info}
    assert not [name for name in names if name.startswith("tracker/public")]
    for wanted in (
        "analyses/data/facts/capitals.csv",
        "analyses/data/facts/relations.json",
        "analyses/data/tasks/ioi.json",
        "analyses/models/mcq-small/model.safetensors",
        "analyses/models/mcq-small/tokenizer.json",
        "analyses/py.typed",
        "app/main.py",
        "app/serve.py",
        "headbook/__init__.py",
        "headbook/py.typed",
        "migrations/script.py.mako",
        "migrations/versions/0005_results.py",
        "migrations/views/head_scores.sql",
        "tracker/py.typed",
        f"{info}/licenses/LICENSE",
    ):
        assert wanted in names


def test_the_wheel_works_in_the_folder_of_a_project_that_has_the_same_names(
    wheel: Path, work: Path, tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    python = cluster.virtual_environment(tmp_path / "bare", wheel)
    headbook = python.with_name("headbook")
    here: dict[str, Any] = {
        "cwd": work,
        "DATABASE_URL": postgres.url("headbook", "headbook_owner"),
        "HEADBOOK_HOME": str(tmp_path / "home"),
    }
    said = run(headbook, "db", "upgrade", **here)
    assert said == "The database schema is up to date.\n"
    asks = "import headbook; print(headbook.__version__, headbook.connect().runs())"
    assert run(python, "-P", "-c", asks, **here).endswith(" []\n")
    refused = subprocess.run((python, "-c", asks), cwd=work, capture_output=True, text=True)
    assert f"`import app` finds {work}/app/__init__.py, which is not Headbook's" in refused.stderr


@pytest.mark.slow
def test_the_wheel_works_in_a_bare_environment(wheel: Path, work: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    run(sys.executable, "-m", "venv", bare)
    pip: list[str | Path] = [bare / "bin" / "python", "-m", "pip", "install", "--quiet"]
    constraints = ("--constraint", ROOT / "constraints.txt")
    run(*pip, *constraints, "torch")
    run(*pip, *constraints, wheel)
    headbook = bare / "bin" / "headbook"
    home: dict[str, Any] = {"cwd": work, "HEADBOOK_HOME": str(tmp_path / "a home")}
    try:
        run(headbook, "up", "--detach", **home)
        run(headbook, "db", "upgrade", **home)
        status = json.loads(run(headbook, "status", "--json", **home))
        assert status["stack"]["state"] == "running"
        states = {each["name"]: each["state"] for each in status["stack"]["components"]}
        assert set(states.values()) == {"running"}
        assert json.loads(run(headbook, "runs", "list", "--json", **home)) == []
        prompts = run(
            headbook, "distributions", "show", "facts", "--prompts", "2", "--json", **home
        )
        assert len(json.loads(prompts)["prompts"]) == 2
    finally:
        run(headbook, "down", **home)
        postgres_place.remove(Home(Path(home["HEADBOOK_HOME"])))
