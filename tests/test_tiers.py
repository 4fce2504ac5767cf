"""What starts servers is marked, by the fixtures it uses or by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROBES = """
import subprocess

import pytest


@pytest.fixture(scope="session")
def server_urls(): ...


@pytest.fixture(scope="module")
def crew(server_urls): ...


@pytest.fixture
def sessions(server_urls): ...


def start():
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/nowhere/postgres", "-D", "/nowhere"])


def test_through_a_fixture(sessions): start()


@pytest.mark.parametrize("number", range(4))
def test_among_others_of_its_module(crew, number): ...


@pytest.mark.stack
def test_marked_by_hand(): start()


def test_unmarked(): start()


@pytest.mark.parametrize("family", ["llama", "olmo"])
def test_of_a_family(family): ...


def test_of_another_command():
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/nowhere/psql", "postgres"])
"""


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probes")
    marks = "\n".join(f"  {mark}: of a test" for mark in ("browser", "servers", "slow", "stack"))
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{marks}\n")
    (folder / "plugin.py").write_text(
        "from tiers import Tiers\n"
        "def pytest_configure(config): config.pluginmanager.register(Tiers())\n"
    )
    (folder / "test_probes.py").write_text(PROBES)
    return folder


def outcomes(probes: Path, *words: str) -> str:
    """What pytest says of the probes."""
    command = (sys.executable, "-m", "pytest", "-p", "plugin", "-p", "no:cacheprovider", "-v")
    done = subprocess.run(
        (*command, *words),
        cwd=probes,
        env={"PYTHONPATH": f"{TESTS}:{probes}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_a_test_has_the_mark_of_what_its_fixtures_start_and_shares_it_on_one_worker(
    probes: Path,
) -> None:
    said = outcomes(probes, "-m", "servers", "-n", "2", "--dist", "loadgroup")
    workers = re.findall(r"\[(gw\d)\] .* PASSED .*test_among_others_of_its_module", said)
    assert len(workers) == 4
    assert len(set(workers)) == 1
    assert "5 passed" in said


def test_of_many_families_few_are_for_the_fast_tier(probes: Path) -> None:
    said = outcomes(probes, "-m", "slow")
    assert "test_of_a_family[olmo] PASSED" in said
    assert "1 passed, 9 deselected" in said


def test_a_test_that_starts_a_server_without_a_mark_fails_and_is_told_so(probes: Path) -> None:
    said = outcomes(probes)
    assert "test_unmarked starts a server ('/postgres'): mark it" in said
    assert "1 failed, 9 passed" in said
