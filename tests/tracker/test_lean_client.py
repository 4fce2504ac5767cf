"""The Python client with nothing installed but what it needs, on a real database."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tracker.domain import Model
from tracker.home.home import Home

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = PROJECT["dependency-groups"]["client"]
OURS = ("analyses", "app", "headbook", "migrations", "tracker")

ONLY = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""
COMMAND = "from headbook import command; sys.argv[1:] = ['{}']; command.main()"
ASKING = """
import headbook

client = headbook.connect()
request = headbook.RunRequest(
    analysis="attribution", model="tiny", recipe={"name": "facts", "size": 8}
)
run = client.submit(request)
print(run.state.value, len(client.runs()), client.wait(client.cancel(run)).state.value)
print(len(client.scores(run)))
try:
    client.tensor(run, "label_logits")
except headbook.NoTensor as error:
    print(error)
"""


def with_what_they_need(given: Iterable[str]) -> Iterator[str]:
    """The distributions that pip would install for these requirements, by their plain names."""
    waiting = [Requirement(each) for each in given]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        name = plain(asked.name)
        if (name, frozenset(asked.extras)) in seen:
            continue
        seen.add((name, frozenset(asked.extras)))
        yield name
        try:
            needed = [Requirement(each) for each in requires(name) or ()]
        except PackageNotFoundError:  # for another Python or system
            continue
        waiting += [
            each
            for each in needed
            if not each.marker
            or any(each.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
        ]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def only() -> str:
    """Code after which all other packages are missing, however much is installed here."""
    there = set(with_what_they_need(NEEDED))
    missing = {
        package
        for package, owners in packages_distributions().items()
        if package not in OURS and not there & {plain(each) for each in owners}
    }
    assert {"torch", "streamlit", "mlflow", "celery", "alembic", "typer"} <= missing
    return f"MISSING = {missing!r}\n{ONLY}"


def asked(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-P", "-c", code),
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_what_the_client_needs_is_a_part_of_what_headbook_needs() -> None:
    assert set(NEEDED) < set(PROJECT["project"]["dependencies"])
    (named,) = re.findall(r"--no-deps headbook\npip install (.*)", (ROOT / "README.md").read_text())
    assert shlex.split(named) == [each.partition(">")[0] for each in NEEDED]


def test_the_client_alone_submits_waits_and_reads(
    only: str, tiny: Model, database_url: str, home: Home
) -> None:
    done = asked(only + ASKING, DATABASE_URL=database_url, HEADBOOK_HOME=str(home.root))
    assert done.stderr == ""
    queued, none, no_tensor = done.stdout.splitlines()
    assert (queued, none) == ("queued 1 cancelled", "0")
    assert "Its tensors: none." in no_tensor


@pytest.mark.parametrize(
    ("missing", "code", "package"),
    [
        ("", "import headbook; headbook.LanguageModel", "torch"),
        ("", COMMAND.format("status"), "typer"),
        ("MISSING = {'mlflow'}", COMMAND.format("publish"), "mlflow"),
        ("MISSING = {'alembic'}", COMMAND.format("db', 'upgrade"), "alembic"),
    ],
    ids=["torch", "typer", "mlflow", "alembic"],
)
def test_what_needs_more_says_what_to_install(
    only: str, missing: str, code: str, package: str, database_url: str
) -> None:
    said = asked(f"{only}\n{missing}\n{code}", DATABASE_URL=database_url).stderr
    assert f"This needs the package {package!r}, which is not installed here" in said
    assert "`pip install headbook` installs everything" in said
