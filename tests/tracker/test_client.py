"""The Python client on a real database: its examples, and what it refuses."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import headbook
from headbook import Client, Grid, RunRequest
from headbook import client as client_module
from tracker.database.db import Sessions
from tracker.domain import RunState
from tracker.home.home import Home
from tracker.queueing import models
from tracker.store.runs import UnknownRun
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = [each for each in doctest.DocTestFinder().find(client_module, "client") if each.examples]
ATTRIBUTION = RunRequest(
    analysis="attribution", model="mcq-small", recipe={"name": "facts", "size": 8}
)


@pytest.fixture
def client(database_url: str, home: Home, sessions: Sessions) -> Iterator[Client]:
    with headbook.connect(database_url, home.root) as client:
        yield client


def test_every_method_of_the_client_has_an_example_that_does_as_it_says(
    home: Home,
    sessions: Sessions,
    bench: WorkerContext,
    database_url: str,
    mlflow_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = {each.name.partition(".")[2] for each in EXAMPLES}
    public = {name for name in vars(Client) if not name.startswith("_")} - {"close", "wait_all"}
    assert shown == {"connect", *(f"Client.{name}" for name in public)}

    monkeypatch.setenv("HEADBOOK_HOME", str(home.root))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    models.add_model(
        "mcq-small", name=None, dtype="float32", home=home, roots=(), sessions=sessions
    )
    client = headbook.connect()
    run = client.submit(ATTRIBUTION)
    work(bench, hint=run.id)
    another = ATTRIBUTION.model_copy(update={"seed": 1})
    for example in EXAMPLES:
        example.globs = {"headbook": headbook, "client": client, "run": run, "request": another}
        said: list[str] = []
        failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
        assert failed == 0, "".join(said)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    shown_by_it: dict[str, Any] = {}
    exec(block.replace('"size": 64', '"size": 8'), shown_by_it)
    assert shown_by_it["run"].id == run.id
    assert len(shown_by_it["attribution"]) == 8
    shown_by_it["client"].close()
    client.close()


def test_requests_are_queued_all_or_none_and_the_same_one_once(
    client: Client, submit: Submit
) -> None:
    del submit  # it has added the model
    request = RunRequest(analysis="attribution", model="tiny", recipe={"name": "facts", "size": 8})
    assert eval(request.as_python(), {"headbook": headbook}) == request
    first, again = client.submit([request, request])
    assert first == again == client.submit(request)
    with pytest.raises(headbook.InvalidRequest, match="batch_size"):
        client.submit([request.model_copy(update={"seed": 3}), wrong(request)])
    assert client.runs() == [first]
    grid = Grid(analysis="attribution", model="tiny", recipe={"name": "facts", "size": [8, 12]})
    assert [run.n_prompts for run in client.submit(grid)] == [8, 12]
    assert [run.n_prompts for run in client.runs(states=[RunState.QUEUED])] == [12, 8]
    assert client.runs(states=[RunState.FAILED]) == client.runs(analysis="attention") == []


def wrong(request: RunRequest) -> RunRequest:
    return request.model_copy(update={"parameters": {"batch_size": 0}})


def test_the_prompts_are_of_the_split_that_the_analysis_needs_unless_one_is_named(
    client: Client, submit: Submit
) -> None:
    del submit
    asked = {"analysis": "subspace", "model": "tiny"}
    assert client.submit(RunRequest(**asked, recipe={"size": 8})).recipe["split"] == "test"
    with pytest.raises(headbook.InvalidRequest, match="prompts are of split 'all'"):
        client.submit(RunRequest(**asked, recipe={"size": 8, "split": "all"}))


def test_a_run_that_was_cancelled_is_queued_again_and_one_that_lives_is_not(
    client: Client, submit: Submit
) -> None:
    run = submit(seed=7).run
    assert client.retry(run.id).id == run.id
    assert client.cancel(run.id).state is RunState.CANCELLED
    again = client.retry(str(run.id)[:8])
    assert (again.id != run.id, again.state, again.seed) == (True, RunState.QUEUED, 7)


def test_waiting_ends_at_its_time_and_names_what_goes_on(client: Client, submit: Submit) -> None:
    run = submit().run
    with pytest.raises(TimeoutError, match=rf"Timed out after 0 s: .* {run.id} \(queued\)"):
        client.wait(run.id, timeout=0)
    client.cancel(run.id)
    assert client.wait(run.id).state is RunState.CANCELLED


def test_what_is_not_there_is_named(client: Client, submit: Submit) -> None:
    with pytest.raises(UnknownRun, match="headbook runs list"):
        client.run(uuid4())
    with pytest.raises(headbook.NoTensor, match=r"has no tensor 'wide'\. Its tensors: none"):
        client.tensor(submit().run.id, "wide")
    with pytest.raises(headbook.TrackerError, match="No database is known"):
        Client(home=Path("/nowhere"))


@pytest.mark.parametrize("given", [None, "attribution", {"analysis": "attribution"}, ["x"], 3])
def test_what_is_no_request_is_refused_by_its_name(client: Client, given: Any) -> None:
    with pytest.raises(headbook.InvalidRequest, match=r"Not a request: .* Give a RunRequest"):
        client.submit(given)


@pytest.mark.parametrize("states", [["done"], "succeeded"])
def test_an_unknown_state_is_refused_with_the_known_ones(client: Client, states: Any) -> None:
    with pytest.raises(headbook.TrackerError, match=r"Unknown state: .* queued, running"):
        client.runs(states=states)
