"""A run's mirror in MLflow comes about once, whatever is away meanwhile."""

import time
from dataclasses import replace

from attacks import ATTACKS
from markdown_it import MarkdownIt
from mlflow import MlflowClient
from stored_runs import content, detail, due_now, mlflow_ids, reopen

from analyses.shown import one_line
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.publishing import mirror, publication
from tracker.publishing.mlflow_runs import ensure_run
from tracker.store import models as model_store
from tracker.store import publications, runs
from tracker.tables import PublicationRow
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended, work

from .conftest import Submit


def test_publishing_thrice_is_publishing_once(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)

    def mirrored() -> tuple[object, ...]:
        seen = bench.artifacts.mlflow.get_run(ids.run_id)
        points = {
            key: [(p.value, p.timestamp, p.step) for p in history]
            for key in seen.data.metrics
            if (history := bench.artifacts.mlflow.get_metric_history(ids.run_id, key))
        }
        folders = ("", "tensors", "plots")
        listed = [
            f
            for folder in folders
            for f in bench.artifacts.mlflow.list_artifacts(ids.run_id, folder)
        ]
        files = {f.path: content(bench, ids, f.path) for f in listed if not f.is_dir}
        return points, files, seen.data.params, seen.data.tags, seen.info.end_time

    first = mirrored()
    assert len(first[1]) == 4  # type: ignore[arg-type]
    assert len(first[0]["logit_diff"]) == 1  # type: ignore[index]
    for _ in range(2):
        reopen(sessions, run.id)
        assert mirror.publish(sessions, bench.artifacts, run.id, app_url=bench.app_url)
        assert mirrored() == first
    assert mlflow_ids(sessions, run.id) == ids
    assert ensure_run(bench.artifacts.mlflow, detail(sessions, run.id)) == ids


def test_a_second_mlflow_run_of_a_run_is_deleted(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    double = bench.artifacts.mlflow.create_run(
        ids.experiment_id, tags={"headbook.run": str(run.id)}
    )
    stranger = bench.artifacts.mlflow.create_run(ids.experiment_id)
    reopen(sessions, run.id)
    publish_if_ended(bench, run.id)
    assert bench.artifacts.mlflow.get_run(double.info.run_id).info.lifecycle_stage == "deleted"
    for kept in (ids.run_id, stranger.info.run_id):
        assert bench.artifacts.mlflow.get_run(kept).info.lifecycle_stage == "active"
    assert ensure_run(bench.artifacts.mlflow, detail(sessions, run.id)) == ids


def test_a_run_that_could_not_be_published_is_published_later(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    there, bench.artifacts.mlflow = bench.artifacts.mlflow, MlflowClient("http://127.0.0.1:1")
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    publish_if_ended(bench, run.id)
    assert not detail(sessions, run.id).line.published
    bench.artifacts.mlflow = there
    bench.artifacts.pause.end()
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published


def test_runs_that_end_while_mlflow_is_away_do_not_each_wait_for_it(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    ended = [submit(seed=seed).run for seed in range(3)]
    with transaction(sessions) as session:
        for run in ended:
            runs.cancel(session, run.id)
    bench.artifacts.mlflow = MlflowClient("http://127.0.0.1:1")
    begun = time.monotonic()
    publish_if_ended(bench, ended[0].id)
    one_try = time.monotonic() - begun
    for run in ended[1:]:
        publish_if_ended(bench, run.id)
    assert time.monotonic() - begun < 2 * one_try


def test_a_cancelled_run_is_shown_as_killed(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    assert work(bench, hint=None) == 0
    publish_if_ended(bench, run.id)
    ids = mlflow_ids(sessions, run.id)
    assert bench.artifacts.mlflow.get_run(ids.run_id).info.status == "KILLED"


def test_a_run_waits_for_mlflow_without_holding_a_worker(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    there, bench.artifacts.mlflow = bench.artifacts.mlflow, MlflowClient("http://127.0.0.1:1")
    assert work(bench, hint=None) == 3
    line = detail(sessions, run.id).line
    assert line.state is RunState.FINISHING
    assert line.reason is not None
    assert line.reason.startswith("waiting for MLflow")
    bench.artifacts.mlflow = there
    bench.artifacts.pause.end()
    assert work(bench, hint=None) == 0  # not yet: it is tried again in a while
    due_now(sessions, run.id)
    assert work(bench, hint=None) == 1
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    tags = bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id).data.tags
    assert "headbook.reason" not in tags


def test_an_mlflow_run_whose_experiment_a_person_deleted_is_published(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    first = submit().run
    work(bench, hint=None)
    bench.artifacts.mlflow.delete_experiment(mlflow_ids(sessions, first.id).experiment_id)
    second = submit(seed=1).run
    work(bench, hint=None)
    assert detail(sessions, second.id).line.published


def test_a_run_of_a_model_that_was_renamed_is_published_again(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    """MLflow lets no param be changed, so it keeps the first name; the tag has the new one."""
    run = submit().run
    work(bench, hint=None)
    with transaction(sessions) as session:
        model_store.rename(session, "tiny", "renamed", renamed_by="ada")
    assert not detail(sessions, run.id).line.published
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published
    seen = bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id).data
    assert (seen.params["model"], seen.tags["headbook.model"]) == ("tiny", "renamed")


def test_what_mlflow_shows_of_a_run_does_nothing_that_a_text_asks_for(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    """Its note is Markdown: one link of ours, and text. Tags and params are shown as they are."""
    attacks = [each for each in ATTACKS.values() if len(each) < 1000]
    run = submit().run
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    known = detail(sessions, run.id)
    params = {f"p{number}": each for number, each in enumerate(attacks)}
    line = replace(known.line, params=params, reason="".join(attacks), created_by="a\x1b[31mb")
    told = replace(known, line=line, studies={"s": "".join(attacks)})
    for at in range(0, len(attacks), 20):
        ids = ensure_run(bench.artifacts.mlflow, told)
        publication.publish(
            bench.artifacts.mlflow,
            ids,
            told,
            [],
            pictures={},
            remarks=attacks[at : at + 20],
            app_url="http://h",
        )
        seen = bench.artifacts.mlflow.get_run(ids.run_id).data
        blocks = MarkdownIt("commonmark", {"html": True}).parse(
            seen.tags.pop("mlflow.note.content")
        )
        tokens = [token for block in blocks for token in (block, *(block.children or ()))]
        assert [token.attrs for token in tokens if token.type == "link_open"] == [
            {"href": f"http://h/run?id={run.id}"}
        ]
        shown = {"link_open", "link_close", "code_inline", "text", "text_special", "hardbreak"}
        shown |= {"paragraph_open", "paragraph_close", "inline", "softbreak"}
        assert {token.type for token in tokens} <= shown
        said = "".join(token.content for token in tokens if token.type.startswith("text"))
        for attack in "\n".join(attacks[at : at + 20]).split("\n"):
            assert one_line(attack) in said
        for value in (*seen.tags.values(), *seen.params.values()):
            assert all(each.isprintable() or each in "\n\t" for each in value)
        assert seen.params["p0"] == "\\x1b[31mred\\x1b[0m"


def test_what_was_refused_and_then_could_not_be_tried_is_due_again(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
        hold = publications.take(session, run.id)
        assert hold is not None
        publications.refused(session, run.id, hold, "no")
    bench.artifacts.mlflow = MlflowClient("http://127.0.0.1:1")
    publish_if_ended(bench, run.id)
    with transaction(sessions) as session:
        row = session.query(PublicationRow).filter_by(run_id=run.id).one()
        assert row.due_at is not None
        assert "it will be retried" in (row.error or "")
