"""Runs are worked on for real: a small model, Postgres, an MLflow store, no worker process."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from local_hub import COMMIT, NOBODY, LocalHub, use_hub_at
from stored_runs import detail, mlflow_ids, stored_tensors, vectors

from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.sources import SourceKind
from analyses.results import Kind
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.home.home import Home
from tracker.queueing import models
from tracker.store import pairs as pair_store
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit


def test_a_run_ends_with_scores_tensors_and_a_mirror_in_mlflow(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit(study="first").run
    assert work(bench, hint=None) == 3  # two slices of prompts, then the finish
    seen = detail(sessions, run.id)
    assert (seen.line.state, seen.line.done, seen.line.published) == (RunState.SUCCEEDED, 8, True)
    assert seen.provenance["versions"]["torch"] == torch.__version__
    assert seen.notes.conventions["position"] == "the last token of the prompt"
    with transaction(sessions) as session:
        lines = results.scores(session, run.id)
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert len(heads) == 8
    assert all(line.n == 8 and line.ci_low <= line.mean <= line.ci_high for line in heads)

    ids = mlflow_ids(sessions, run.id)
    mirrored = bench.artifacts.mlflow.get_run(ids.run_id)
    assert mirrored.info.status == "FINISHED"
    assert mirrored.data.params["batch_size"] == "2"
    note = mirrored.data.tags["mlflow.note.content"]
    assert note.startswith(f"[Run {run.id}](http://app/run?id={run.id})")
    assert mirrored.data.tags["headbook.run"] == str(run.id)
    assert mirrored.data.tags["headbook.study"] == "first"
    assert 0 < len(mirrored.data.metrics) <= 30
    (dataset,) = mirrored.inputs.dataset_inputs
    assert dataset.dataset.name == "facts/chinchilla/ABCD"
    table = pd.read_parquet(bench.artifacts.mlflow.download_artifacts(ids.run_id, "scores.parquet"))
    assert len(table) == len(lines)
    plots = {each.path for each in bench.artifacts.mlflow.list_artifacts(ids.run_id, "plots")}
    assert plots == {"plots/heads.png", "plots/strongest.png"}
    for path in plots:
        plot = Path(bench.artifacts.mlflow.download_artifacts(ids.run_id, path))
        assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("source", ["permute_options", "zero"])
def test_patching_is_queued_with_its_sources_and_ends_with_effects_and_shares(
    submit: Submit, bench: WorkerContext, sessions: Sessions, source: str
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
        lines = results.scores(session, run.id)
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert str(heads[0].quantity) == "total_effect z logit_diff"
    by_effect = {line.quantity.metric for line in heads}
    assert {"total_effect", "direct_effect", "indirect_effect"} <= by_effect
    shares = [line for line in heads if line.quantity.metric == "moved"]
    undefined = [line for line in shares if line.mean is None]
    if source == "zero":
        assert not shares
    else:
        assert len(shares) == 6 * 8
        said = " ".join(detail(sessions, run.id).notes.warnings)
        assert ("has no value in" in said) == bool(undefined)
    mirrored = bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id)
    assert any("total_effect/z/logit_diff" in key for key in mirrored.data.metrics)


@pytest.mark.parametrize("prompts", ["all", "known"])
def test_attention_ends_with_weights_and_rows_that_do_not_depend_on_its_parts(
    submit: Submit, bench: WorkerContext, sessions: Sessions, prompts: str
) -> None:
    asked = {"analysis": "attention", "params": {"batch_size": 2, "prompts": prompts}}
    found = [submit(**asked, prompts_per_part=size, force=size < 8).run for size in (8, 2)]
    work(bench, hint=None)
    first, second = (vectors(sessions, run.id) for run in found)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    stored = [stored_tensors(sessions, run.id)[0] for run in found]
    with transaction(sessions) as session:
        lines = results.scores(session, found[0].id)
    one, other = (
        bench.artifacts.get(mlflow_ids(sessions, run.id), tensor)
        for run, tensor in zip(found, stored, strict=True)
    )
    assert one.axes == ("prompt", "component", "key")
    assert one.values.tobytes() == other.values.tobytes()
    heads = [line for line in lines if line.component.kind is Kind.HEAD]
    assert str(heads[0].quantity) == "weight keys=correct_label"
    assert one.values.shape[:2] == (8, 8)
    whole = np.nansum(one.values, axis=2)
    counted = ~np.isnan(one.values).all(axis=2)
    assert counted.any()
    assert counted.all() == (prompts == "all")
    np.testing.assert_allclose(whole[counted], 1, atol=1e-5)
    mirrored = bench.artifacts.mlflow.get_run(mlflow_ids(sessions, found[0].id).run_id)
    assert any("weight/keys:correct_label" in key for key in mirrored.data.metrics)


def test_behaviour_is_mirrored_with_names_that_mlflow_takes(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit(
        analysis="behaviour",
        distribution=DistributionSpec.parse("colours/chinchilla/list:#,$,%,&", size=8),
        params={"batch_size": 2, "prompts": "known"},
    ).run
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.published) == (RunState.SUCCEEDED, True), line.reason
    mirrored = bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id)
    assert "accuracy" in mirrored.data.metrics
    assert len(mirrored.data.metrics) <= 30
    plots = bench.artifacts.mlflow.list_artifacts(mirrored.info.run_id, "plots")
    assert [each.path for each in plots] == ["plots/answers.png"]


def test_a_model_of_the_hub_is_worked_on_at_its_revision_also_without_network(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    home: Home,
    model_folder: Path,
    hub_server: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub_server.models["owner/tiny"] = model_folder
    ref = hub_server.ref("owner/tiny")
    model = models.add_model(
        ref, name="tiny", dtype="float32", home=home, roots=(), sessions=sessions
    )
    assert (model.ref, model.revision) == (ref, COMMIT)
    use_hub_at(NOBODY, monkeypatch)
    run = submit().run
    bench.memory_budget = 300 * 2**20
    work(bench, hint=None)
    assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    assert bench.loaded.last_used is not None
    assert bench.loaded.last_used.memory_budget == bench.memory_budget


def test_the_shares_of_all_components_add_up_to_the_logit_difference(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    run = submit().run
    work(bench, hint=None)
    with transaction(sessions) as session:
        lines = results.scores(session, run.id)
    shares = sum(line.mean or 0 for line in lines if line.quantity.metric == "logit_attribution")
    whole = next(line.mean for line in lines if line.quantity.metric == "logit_diff")
    assert shares == pytest.approx(whole, rel=1e-4)


def test_one_or_four_parts_give_the_same_bits(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    whole = submit(prompts_per_part=8).run
    cut = submit(prompts_per_part=2, force=True).run
    work(bench, hint=None)
    assert (whole.n_parts, cut.n_parts) == (1, 4)
    first, second = vectors(sessions, whole.id), vectors(sessions, cut.id)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_the_same_request_finds_the_same_run_and_force_makes_another(
    submit: Submit, bench: WorkerContext, sessions: Sessions
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
