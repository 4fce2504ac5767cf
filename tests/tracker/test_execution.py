"""Runs are worked on for real: a small model, Postgres, an MLflow store, no worker process."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import torch
from local_hub import COMMIT, NOBODY, LocalHub, use_hub_at
from mlflow import MlflowClient
from numpy.typing import NDArray
from plain_connection import connect
from sqlalchemy import select, text, update

from analyses import registry
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.sources import SourceKind
from analyses.registry import Params, analysis
from analyses.results import MODEL, Kind, Measured, ScoreKey
from tracker import models, publication, reports, tensor_files
from tracker.db import Sessions, transaction
from tracker.domain import RunState
from tracker.execution import publish_if_ended, work
from tracker.home import Home
from tracker.reports import RunDetail
from tracker.settling import is_out_of_memory
from tracker.store import pairs as pair_store
from tracker.store import publications, runs, tensors
from tracker.store.publications import MlflowIds
from tracker.tables import RunRow, ScoreRow
from tracker.tensor_files import TensorChanged
from tracker.workbench import Workbench

from .conftest import Submit

Vectors = dict[tuple[int, str, float], NDArray[np.float32]]


Behave = Callable[[Callable[[int], None]], None]
BEHAVIOUR: dict[str, Behave] = {}
GIVES: dict[str, int] = {}


class OddParams(Params):
    """None of its own."""


@pytest.fixture
def odd() -> Iterator[dict[str, Behave]]:
    """An analysis `odd` that does what the test puts under "does"."""

    @analysis("odd", version=1, params=OddParams)
    def odd(lm: Any, prompts: Any, params: Any, progress: Callable[[int], None]) -> Measured:
        """Does as it is told."""
        BEHAVIOUR["does"](progress)
        return Measured(
            scores={
                ScoreKey(component=MODEL, metric="one"): np.ones(
                    GIVES.get("prompts", len(prompts)), np.float32
                )
            }
        )

    globals()["odd"] = odd
    yield BEHAVIOUR
    del registry._ANALYSES["odd"]
    BEHAVIOUR.clear()
    GIVES.clear()


def detail(sessions: Sessions, run_id: UUID) -> RunDetail:
    with transaction(sessions) as session:
        return reports.run_detail(session, run_id)


def vectors(sessions: Sessions, run_id: UUID) -> Vectors:
    with transaction(sessions) as session:
        rows = session.scalars(select(ScoreRow).where(ScoreRow.run_id == run_id))
        return {
            (row.component_id, row.metric, row.x): np.asarray(row.values, dtype=np.float32)
            for row in rows
            if row.values is not None
        }


def mlflow_ids(sessions: Sessions, run_id: UUID) -> MlflowIds:
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, run_id)
    assert ids is not None
    return ids


def test_a_run_ends_with_scores_tensors_and_a_mirror_in_mlflow(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit(study="first").run
    assert work(bench, hint=None) == 3  # two slices of prompts, then the finish
    seen = detail(sessions, run.id)
    assert (seen.line.state, seen.line.done, seen.line.published) == (RunState.SUCCEEDED, 8, True)
    assert seen.provenance["versions"]["torch"] == torch.__version__
    assert seen.notes["conventions"]["position"] == "the last token of the prompt"
    with transaction(sessions) as session:
        lines = reports.scores(session, run.id)
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert len(heads) == 8
    assert all(line.n == 8 and line.ci_low <= line.mean <= line.ci_high for line in heads)  # type: ignore[operator]

    ids = mlflow_ids(sessions, run.id)
    mirrored = bench.mlflow.get_run(ids.run_id)
    assert mirrored.info.status == "FINISHED"
    assert mirrored.data.params["batch_size"] == "2"
    note = mirrored.data.tags["mlflow.note.content"]
    assert note.startswith(f"[Run {run.id}](http://app/run?id={run.id})")
    assert mirrored.data.tags["headbook.run"] == str(run.id)
    assert mirrored.data.tags["headbook.study"] == "first"
    assert 0 < len(mirrored.data.metrics) <= 30
    (dataset,) = mirrored.inputs.dataset_inputs
    assert dataset.dataset.name == "facts/chinchilla/ABCD"
    table = pd.read_parquet(bench.mlflow.download_artifacts(ids.run_id, "scores.parquet"))
    assert len(table) == len(lines)
    plots = {each.path for each in bench.mlflow.list_artifacts(ids.run_id, "plots")}
    assert plots == {"plots/heads.png", "plots/strongest.png"}
    for path in plots:
        plot = Path(bench.mlflow.download_artifacts(ids.run_id, path))
        assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("source", ["permute_options", "zero"])
def test_patching_is_queued_with_its_sources_and_ends_with_effects_and_shares(
    submit: Submit, bench: Workbench, sessions: Sessions, source: str
) -> None:
    run = submit(analysis="patching", params={"batch_size": 2, "source": source}).run
    with transaction(sessions) as session:
        stored = pair_store.pairs(
            session, SourceKind.PERMUTE_OPTIONS, run.distribution_id, 0, 8, seed=0
        )
    assert len(stored) == (8 if source == "permute_options" else 0)
    work(bench, hint=None)
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    with transaction(sessions) as session:
        lines = reports.scores(session, run.id)
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert (heads[0].metric, heads[0].condition) == ("total_effect", "logit_diff")
    by_effect = {line.metric for line in heads}
    assert {"total_effect", "direct_effect", "indirect_effect"} <= by_effect
    shares = [line for line in heads if line.metric == "moved"]
    undefined = [line for line in shares if line.mean is None]
    if source == "zero":
        assert not shares
    else:
        assert len(shares) == 5 * 8
        said = " ".join(detail(sessions, run.id).notes["warnings"])
        assert ("has no value for" in said) == bool(undefined)
    mirrored = bench.mlflow.get_run(mlflow_ids(sessions, run.id).run_id)
    assert any("total_effect/z/logit_diff" in key for key in mirrored.data.metrics)


@pytest.mark.parametrize("prompts", ["all", "known"])
def test_attention_ends_with_weights_and_rows_that_do_not_depend_on_its_parts(
    submit: Submit, bench: Workbench, sessions: Sessions, prompts: str
) -> None:
    asked = {"analysis": "attention", "params": {"batch_size": 2, "prompts": prompts}}
    found = [submit(**asked, prompts_per_part=size, force=size < 8).run for size in (8, 2)]
    work(bench, hint=None)
    first, second = (vectors(sessions, run.id) for run in found)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    with transaction(sessions) as session:
        stored = [tensors.tensors(session, run.id)[0] for run in found]
        lines = reports.scores(session, found[0].id)
    one, other = (
        tensor_files.fetch_tensor(bench.mlflow, mlflow_ids(sessions, run.id), tensor)
        for run, tensor in zip(found, stored, strict=True)
    )
    assert one.axes == ("prompt", "component", "key")
    assert one.values.tobytes() == other.values.tobytes()
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert (heads[0].metric, heads[0].condition) == ("weight", "keys=correct_label")
    assert one.values.shape[:2] == (8, 8)
    whole = np.nansum(one.values, axis=2)
    counted = ~np.isnan(one.values).all(axis=2)
    assert counted.any()
    assert counted.all() == (prompts == "all")
    np.testing.assert_allclose(whole[counted], 1, atol=1e-5)
    mirrored = bench.mlflow.get_run(mlflow_ids(sessions, found[0].id).run_id)
    assert any("weight/keys:correct_label" in key for key in mirrored.data.metrics)


def test_behaviour_is_mirrored_with_names_that_mlflow_takes(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit(
        analysis="behaviour",
        distribution=DistributionSpec.parse("colours/chinchilla/list:#,$,%,&", size=8),
        params={"batch_size": 2, "prompts": "known"},
    ).run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.published) == (RunState.SUCCEEDED, True), line.reason
    mirrored = bench.mlflow.get_run(mlflow_ids(sessions, run.id).run_id)
    assert "accuracy" in mirrored.data.metrics
    assert len(mirrored.data.metrics) <= 30
    plots = bench.mlflow.list_artifacts(mirrored.info.run_id, "plots")
    assert [each.path for each in plots] == ["plots/answers.png"]


def test_a_model_of_the_hub_is_worked_on_at_its_revision_also_without_network(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    home: Home,
    model_folder: Path,
    hub_server: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub_server.models["owner/tiny"] = model_folder
    ref = hub_server.ref("owner/tiny")
    model = models.add_model(
        ref, name="from hub", dtype="float32", home=home, roots=(), sessions=sessions
    )
    assert (model.ref, model.revision) == (ref, COMMIT)
    use_hub_at(NOBODY, monkeypatch)
    run = submit(model="from hub").run
    bench.memory_budget = 300 * 2**20
    work(bench, hint=None)
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    assert bench.loaded.last_used is not None
    assert bench.loaded.last_used.memory_budget == bench.memory_budget


def test_the_shares_of_all_components_add_up_to_the_logit_difference(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    with transaction(sessions) as session:
        lines = reports.scores(session, run.id)
    shares = sum(line.mean or 0 for line in lines if line.metric == "logit_attribution")
    whole = next(line.mean for line in lines if line.metric == "logit_diff")
    assert shares == pytest.approx(whole, rel=1e-4)


def test_one_or_four_parts_give_the_same_bits(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    whole = submit(prompts_per_part=8).run
    cut = submit(prompts_per_part=2, force=True).run
    work(bench, hint=None)
    assert (whole.n_parts, cut.n_parts) == (1, 4)
    first, second = vectors(sessions, whole.id), vectors(sessions, cut.id)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_a_stored_tensor_is_read_back_and_a_changed_one_is_refused(
    submit: Submit, bench: Workbench, sessions: Sessions, tmp_path: Path
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    with transaction(sessions) as session:
        (stored,) = tensors.tensors(session, run.id)
    tensor = tensor_files.fetch_tensor(bench.mlflow, ids, stored)
    assert tensor.axes == ("prompt", "component", "label")
    assert tensor.values.shape == (8, len(tensor.coordinates["component"]), 4)
    file = Path(bench.mlflow.download_artifacts(ids.run_id, stored.mlflow_path, str(tmp_path)))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    bench.mlflow.log_artifact(ids.run_id, str(file), "tensors")
    with pytest.raises(TensorChanged, match="is not what was written"):
        tensor_files.fetch_tensor(bench.mlflow, ids, stored)


def test_the_same_request_finds_the_same_run_and_force_makes_another(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    first = submit()
    assert first.new
    assert not submit().new
    work(bench, hint=None)
    again = submit()
    assert (again.new, again.run.id, again.run.state) == (False, first.run.id, RunState.SUCCEEDED)
    assert submit(seed=1).run.id != first.run.id
    forced = submit(force=True)
    assert forced.new
    assert forced.run.fingerprint == first.run.fingerprint


def test_publishing_twice_changes_nothing(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    with transaction(sessions) as session:
        lines = reports.scores(session, run.id)
    publication.publish(
        bench.mlflow, ids, detail(sessions, run.id), lines, pictures={}, app_url=None
    )
    assert publication.ensure_run(bench.mlflow, detail(sessions, run.id)) == ids
    history = bench.mlflow.get_metric_history(ids.run_id, "logit_diff")
    assert len(history) == 1


def test_a_run_that_could_not_be_published_is_published_later(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    there, bench.mlflow = bench.mlflow, MlflowClient("http://127.0.0.1:1")
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    publish_if_ended(bench, run.id)
    assert not detail(sessions, run.id).line.published
    bench.mlflow = there
    bench.pause.end()
    publish_if_ended(bench, run.id)
    assert detail(sessions, run.id).line.published


def test_runs_that_end_while_mlflow_is_away_do_not_each_wait_for_it(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    ended = [submit(seed=seed).run for seed in range(3)]
    with transaction(sessions) as session:
        for run in ended:
            runs.cancel(session, run.id)
    bench.mlflow = MlflowClient("http://127.0.0.1:1")
    begun = time.monotonic()
    publish_if_ended(bench, ended[0].id)
    one_try = time.monotonic() - begun
    for run in ended[1:]:
        publish_if_ended(bench, run.id)
    assert time.monotonic() - begun < 2 * one_try


def test_a_cancelled_run_is_shown_as_killed(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    assert work(bench, hint=None) == 0
    publish_if_ended(bench, run.id)
    ids = mlflow_ids(sessions, run.id)
    assert bench.mlflow.get_run(ids.run_id).info.status == "KILLED"


def test_a_model_whose_files_have_changed_is_not_measured(
    submit: Submit, bench: Workbench, sessions: Sessions, model_folder: Path, tmp_path: Path
) -> None:
    weights = model_folder / "model.safetensors"
    run = submit().run
    shutil.copy(weights, tmp_path / "kept")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    try:
        weights.write_bytes(content)
        work(bench, hint=None)
    finally:
        shutil.copy(tmp_path / "kept", weights)
    line = detail(sessions, run.id).line
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "has changed since it was submitted" in line.reason


def test_a_run_waits_for_mlflow_without_holding_a_worker(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    there, bench.mlflow = bench.mlflow, MlflowClient("http://127.0.0.1:1")
    assert work(bench, hint=None) == 3
    line = detail(sessions, run.id).line
    assert line.state is RunState.FINISHING
    assert line.reason is not None
    assert line.reason.startswith("waiting for MLflow")
    bench.mlflow = there
    bench.pause.end()
    assert work(bench, hint=None) == 0  # not yet: it is tried again in a while
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(not_before=text("clock_timestamp()")))
    assert work(bench, hint=None) == 1
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    tags = bench.mlflow.get_run(mlflow_ids(sessions, run.id).run_id).data.tags
    assert "headbook.reason" not in tags


def test_an_mlflow_run_whose_experiment_a_person_deleted_is_published(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    first = submit().run
    work(bench, hint=None)
    bench.mlflow.delete_experiment(mlflow_ids(sessions, first.id).experiment_id)
    second = submit(seed=1).run
    work(bench, hint=None)
    assert detail(sessions, second.id).line.published


def test_a_worker_that_lacks_the_model_leaves_the_run_to_others_and_then_says_why(
    submit: Submit, bench: Workbench, sessions: Sessions, tmp_path: Path
) -> None:
    run = submit().run
    bench.roots = (tmp_path / "elsewhere",)
    assert work(bench, hint=None) == 1
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 2)
    assert line.reason is not None
    assert line.reason.startswith("w1: ")
    assert "does not lie below a model root" in line.reason
    another = Workbench(**vars(bench) | {"name": "w2", "roots": (), "avoid": {}})
    assert work(another, hint=None) == 3
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED


def test_a_run_of_another_version_is_not_mixed_with_this_one(
    submit: Submit, bench: Workbench, sessions: Sessions
) -> None:
    run = submit().run
    with transaction(sessions) as session:
        session.execute(update(RunRow).values(engine_version=99))
    for _ in range(3):
        bench.avoid.clear()
        work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "on engine 99" in line.reason


def test_memory_that_the_cpu_cannot_give_is_known_for_what_it_is() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**15)
    assert is_out_of_memory(refused.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_an_analysis_that_gives_too_few_values_is_told_so(
    submit: Submit, bench: Workbench, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    odd["does"] = lambda _: None
    GIVES["prompts"] = 3
    run = submit(analysis="odd").run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert line.state is RunState.FAILED
    assert line.reason is not None
    assert "gave a score 'one' of shape (3,) for 4 prompts" in line.reason


def test_a_database_that_is_away_for_a_moment_costs_no_run(
    submit: Submit, bench: Workbench, sessions: Sessions, odd: dict[str, Behave], database_url: str
) -> None:
    def cut_all_connections(_: object) -> None:
        with connect(database_url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    odd["does"] = cut_all_connections
    run = submit(analysis="odd").run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 1)


def renamed(database_url: str, old: str, new: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"ALTER TABLE headbook.{old} RENAME TO {new}")


def test_a_table_that_an_upgrade_has_yet_to_make_is_waited_for(
    submit: Submit, bench: Workbench, sessions: Sessions, odd: dict[str, Behave], database_url: str
) -> None:
    def upgrade_soon(_: object) -> None:
        renamed(database_url, "part_score", "to_come")
        Timer(0.5, renamed, (database_url, "to_come", "part_score")).start()

    odd["does"] = upgrade_soon
    run = submit(analysis="odd", prompts_per_part=8).run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.SUCCEEDED, 1)


def test_a_run_on_a_schema_of_another_version_goes_back_and_does_not_fail(
    submit: Submit, bench: Workbench, sessions: Sessions, database_url: str
) -> None:
    run = submit().run
    renamed(database_url, "prompt", "to_come")
    try:
        assert work(bench, hint=None) == 1
    finally:
        renamed(database_url, "to_come", "prompt")
    line = detail(sessions, run.id).line
    assert (line.state, line.attempt) == (RunState.QUEUED, 1)
    assert str(line.reason).startswith("waiting for the schema: The database does not have")


def test_an_analysis_that_raises_fails_its_run_and_the_next_run_is_served(
    submit: Submit, bench: Workbench, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    def raises(_: object) -> None:
        raise ZeroDivisionError("by zero\nand more")

    odd["does"] = raises
    broken = submit(analysis="odd").run
    work(bench, hint=None)
    line = detail(sessions, broken.id).line
    assert (line.state, line.reason) == (RunState.FAILED, "error: ZeroDivisionError: by zero")
    ids = mlflow_ids(sessions, broken.id)
    assert bench.mlflow.get_run(ids.run_id).info.status == "FAILED"
    odd["does"] = lambda _: None
    served = submit(analysis="odd", seed=1).run
    work(bench, hint=None)
    assert detail(sessions, served.id).line.state is RunState.SUCCEEDED


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_running_out_of_memory_is_tried_again_and_then_fails_as_oom(
    submit: Submit,
    bench: Workbench,
    sessions: Sessions,
    odd: dict[str, Behave],
    error: type[Exception],
) -> None:
    tries = []

    def grows(_: object) -> None:
        tries.append(1)
        raise error("too big")

    odd["does"] = grows
    run = submit(analysis="odd").run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.reason) == (RunState.FAILED, "oom: too big; attempt 3 of 3")
    assert len(tries) == 3


def test_a_run_that_is_cancelled_while_it_is_measured_stops_and_stores_nothing(
    submit: Submit, bench: Workbench, sessions: Sessions, odd: dict[str, Behave]
) -> None:
    bench.heartbeat = 0.05

    def waits_for_the_end(progress: Callable[[int], None]) -> None:
        with transaction(sessions) as session:
            runs.cancel(session, run.id)
        while True:
            progress(1)

    odd["does"] = waits_for_the_end
    run = submit(analysis="odd").run
    work(bench, hint=None)
    assert detail(sessions, run.id).line.state is RunState.CANCELLED
    assert vectors(sessions, run.id) == {}
