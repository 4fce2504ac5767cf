"""The list of runs, on a real database."""

from tracker.database.db import transaction
from tracker.domain import RunState
from tracker.store import runs as run_store

from .visiting import all_runs, press, words


def test_the_first_visit_says_how_to_start(visit):
    at = visit()
    assert "Queue the first one" in words(at.info)
    assert "headbook worker" in words(at.warning)


def test_runs_are_listed_with_links_progress_and_reason(visit, succeeded, queued, sessions):
    done, waiting = succeeded(mlflow=("3", "abc")), queued()
    with transaction(sessions) as session:
        run_store.cancel(session, waiting.id)
    table = visit().dataframe[0].value.set_index("run")
    assert list(table.index) == [f"run?id={waiting.id}", f"run?id={done.id}"]
    assert table["progress"].tolist() == [0, 1]
    assert table["reason"].iloc[0] == "cancelled by a person"
    assert table["mlflow"].iloc[1] == "http://127.0.0.1:9/#/experiments/3/runs/abc"


def test_a_run_that_waits_for_another_says_for_which_and_leads_there(visit, queued):
    needed = queued()
    waiting = queued(inputs={"bases": needed.id})
    why = f"waiting for run {str(needed.id)[:8]} (attribution)"
    table = visit().dataframe[0].value.set_index("run")
    assert table["reason"].iloc[0] == why
    at = visit("run", id=waiting.id)
    assert why in words(at.markdown)
    (link,) = at.get("page_link")
    assert link.proto.label == rf"bases\: attribution {str(needed.id)[:8]}, queued"
    assert str(needed.id) in link.proto.query_string
    (link,) = visit("run", id=needed.id).get("page_link")
    assert str(waiting.id) in link.proto.query_string


def test_runs_on_other_prompts_are_told_apart(visit, queued, model):
    of = model()
    recipes: tuple[dict[str, object], ...] = (
        {},
        {"split": "test"},
        {"seed": 1},
        {"shots": 2},
        {"options": 3},
    )
    runs = [queued(of=of, recipe=recipe) for recipe in recipes]
    table = visit().dataframe[0].value
    assert len(set(table["prompts"])) == len(recipes)
    captions = {words(visit("run", id=run.id).caption).split(" · run ")[0] for run in runs}
    assert "8 prompts of facts/chinchilla/ABCD" in captions
    assert "8 prompts of facts/chinchilla/ABCD, shots=2" in captions
    assert len(captions) == len(recipes)


def test_runs_are_filtered_by_state_in_the_address(visit, succeeded, queued):
    done = succeeded()
    queued()
    at = visit(state="succeeded")
    assert at.dataframe[0].value["run"].tolist() == [f"run?id={done.id}"]
    at = visit(state="failed")
    assert "Clear the filters" in words(at.info)


def test_selected_runs_are_cancelled(visit, queued, sessions):
    first, second = queued(), queued()
    at = visit()
    at.session_state["selected"] = [first.id]
    at.run()
    press(at, "Cancel 1")
    assert not at.exception
    states = {run.id: run.state for run in all_runs(sessions)}
    assert states == {first.id: RunState.CANCELLED, second.id: RunState.QUEUED}


def test_the_selection_follows_its_run_when_a_new_one_comes(visit, queued):
    first = queued()
    at = visit()
    at.session_state["selected"] = [first.id]
    at.run()
    assert at.session_state["runs"]["selection"]["rows"] == [0]
    queued()
    at.run()
    assert at.session_state["runs"]["selection"]["rows"] == [1]


def test_runs_that_are_in_mlflow_are_compared_there(visit, succeeded, queued):
    chosen = [succeeded(mlflow=("1", "a")), succeeded(mlflow=("2", "b")), queued()]
    at = visit()
    at.session_state["selected"] = [run.id for run in chosen]
    at.run()
    (link,) = [each for each in at.get("link_button") if each.proto.label == "Compare in MLflow"]
    assert not link.proto.disabled
    assert "#/compare-runs?runs=" in link.proto.url
    assert "1 not in MLflow" in words(at.caption)


def test_an_unreachable_database_is_one_sentence(visit, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nothing")
    at = visit()
    assert "The database cannot be reached" in words(at.error)
    assert "when the database is available again" in words(at.caption)


def test_no_database_at_all_is_one_sentence(visit, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    at = visit()
    assert "headbook up" in words(at.error)
    assert "is available again" not in words(at.caption)
