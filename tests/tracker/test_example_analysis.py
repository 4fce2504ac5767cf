"""The example of the documents, installed by pip, is an analysis like ours: nothing else is done.

Commands, the form and a real worker see it because it lies on their path.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from plain_connection import connect
from stack import Stack

from tracker.database.db import Sessions
from tracker.domain import Model
from tracker.home.home import Home
from tracker.publishing import publication

from .worker_process import published

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-analysis"
FORM = """
import json
from app import data
from app.form_fields import fields_of
(found,) = [each for each in data.analyses() if each.name == "write_norms"]
print(json.dumps([(field.name, field.title, field.choices) for field in fields_of(found.params)]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `PYTHONPATH` into which pip has installed the example, without a network."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # what a build leaves must not lie in the clone
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--no-compile")
    subprocess.run(
        [*pip, *offline, "--target", folder / "site", folder / "source"],
        check=True,
        capture_output=True,
    )
    return folder / "site"


@pytest.fixture
def environment(environment: dict[str, str], installed: Path) -> dict[str, str]:
    return environment | {"PYTHONPATH": str(installed)}


@pytest.fixture
def cli(environment: dict[str, str], home: Home) -> Stack:
    return Stack(home.root, **environment)


def test_a_form_asks_for_the_parameters_of_the_example(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORM],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    fields: list[Any] = json.loads(done.stdout)
    assert ["compared_with", "Compared with", ["resid_pre", "attn_out"]] in fields


def test_it_is_tried_by_ours_in_a_folder_that_has_packages_of_the_same_names(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for name in ("analyses", "headbook", "tracker"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from where one stands')")
    done = subprocess.run(
        (Path(sys.executable).with_name("headbook"), "analyses", "show", "write_norms"),
        cwd=tmp_path,
        env=os.environ | environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "How large each head's write is" in done.stdout


def test_the_example_runs_on_a_worker_and_is_found_by_sql_and_in_mlflow(
    cli: Stack,
    worker: Path,
    sessions: Sessions,
    database_url: str,
    broker_url: str,
    mlflow_uri: str,
    tiny: Model,
) -> None:
    listed = {each["name"]: each for each in cli.json("analyses", "list")}
    assert listed["write_norms"]["scores"][0]["metric"] == "write_norm"
    ordered = ("submit", "write_norms", "--model", "tiny", "--distribution", "facts")
    queued = cli.json(*ordered, "--prompts", "8", "-p", "compared_with=attn_out")
    line = published(UUID(queued["run"]["id"]), sessions=sessions, broker_url=broker_url)
    assert (line.state, line.published) == ("succeeded", True), worker.read_text()
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT layer, head, n, mean FROM results.head_scores WHERE metric = 'write_norm'"
        ).fetchall()
    assert {(layer, head) for layer, head, _, _ in rows} == {
        (i, j) for i in (0, 1) for j in range(4)
    }
    assert all(n == 8 and mean > 0 for _, _, n, mean in rows)
    assert all(
        sum(mean for i, _, _, mean in rows if i == layer) >= 1 for layer in (0, 1)
    )  # the parts of a sum are together at least as long as the sum
    client = publication.mlflow_client(mlflow_uri)
    files = client.list_artifacts(str(line.mlflow_run_id), "plots")
    assert [each.path for each in files] == ["plots/heads.png"]
