"""Of a run's scores, MLflow gets a few numbers and curves; the real server takes them."""

from typing import Any

import pytest

from analyses.bootstrap import Statistics
from analyses.quantities import Quantity, Varied
from analyses.results import MODEL, Component, Kind, ScoreKey
from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.domain.run_notes import RunNotes
from tracker.publishing import mirror
from tracker.publishing.summary import MOST_KEYS, Point, summary
from tracker.results import ScoreLine
from tracker.store import endings, parts, publications, scores
from tracker.working.context import WorkerContext

from .conftest import MakeRun
from .part_work import claim

SET = Component(kind=Kind.SET, index=3)


def line(
    component: Component = MODEL,
    metric: str = "loss",
    condition: str = "",
    x: float = 0.0,
    mean: float | None = 1.0,
    **said: Any,
) -> ScoreLine:
    return ScoreLine(
        component=component,
        quantity=Quantity(metric, varied=Varied.read(condition)),
        x=x,
        n=8,
        skipped=0,
        mean=mean,
        sem=None,
        ci_low=None,
        ci_high=None,
        **said,
    )


def head(index: int, mean: float) -> ScoreLine:
    return line(Component(kind=Kind.HEAD, layer=0, index=index), "write", mean=mean)


def test_scores_that_differ_in_x_alone_are_one_curve_with_a_step_for_each() -> None:
    lines = [line(condition="qk", x=rank, mean=rank / 10) for rank in (0, 1, 2, 64)]
    assert summary(lines) == [
        Point("loss/qk", 0, 0.0),
        Point("loss/qk", 1, 0.1),
        Point("loss/qk", 2, 0.2),
        Point("loss/qk", 64, 6.4),
    ]


def test_a_set_has_its_own_curves() -> None:
    lines = [line(SET, x=x) for x in (1, 2)] + [line(x=x) for x in (1, 2)]
    assert [(key, step) for key, step, _ in summary(lines)] == [
        ("SET03/loss", 1),
        ("SET03/loss", 2),
        ("loss", 1),
        ("loss", 2),
    ]


def test_the_residuals_of_layers_are_not_numbers_about_the_model() -> None:
    layers = [line(Component(kind=Kind.MODEL, layer=n), "total_effect") for n in range(3)]
    assert summary([*layers, line()]) == [Point("loss", 0, 1.0)]


def test_shares_would_fall_on_one_step_and_keep_names_of_their_own() -> None:
    lines = [line(metric="smallest_set", x=x, mean=10 * x) for x in (0.5, 0.8, 0.9)]
    assert summary(lines) == [
        Point("smallest_set/0.5", 0, 5.0),
        Point("smallest_set/0.8", 0, 8.0),
        Point("smallest_set/0.9", 0, 9.0),
    ]


def test_what_has_no_mean_is_left_out_of_a_curve() -> None:
    lines = [line(x=0, mean=1.0), line(x=1, mean=None), line(x=2, mean=3.0)]
    assert [step for _, step, _ in summary(lines)] == [0, 2]


def test_there_are_thirty_keys_at_the_most_the_headline_before_other_conditions() -> None:
    others = [line(condition=f"c{n}", x=x) for n in range(40) for x in range(5)]
    headline = [line(metric="recovered", condition="q", x=x) for x in range(5)]
    found = summary([*others, *headline, line()], headline=Quantity("recovered"))
    keys = list(dict.fromkeys(point.key for point in found))
    assert len(keys) == MOST_KEYS == 30
    assert keys[:3] == ["loss", "recovered/q", "loss/c0"]
    assert len(found) == 1 + 29 * 5


def test_the_strongest_ten_heads_come_by_name() -> None:
    found = summary([head(index, (-1) ** index * index / 10) for index in range(12)])
    assert [point.key for point in found] == [f"L00.H{n:02d}/write" for n in range(11, 1, -1)]
    assert found[0].value == pytest.approx(-1.1)


def test_the_best_heads_of_an_order_are_its_first() -> None:
    order = [
        line(Component(kind=Kind.HEAD, layer=0, index=index), "order", mean=place, better="low")
        for index, place in enumerate((3.0, 1.0, 12.0, 2.0))
    ]
    assert [point.value for point in summary(order)] == [1.0, 2.0, 3.0, 12.0]


def test_a_rank_of_zero_is_in_the_name_and_no_rank_is_not() -> None:
    lines = [line(metric="kept", has_x=True), line(metric="loss")]
    assert [key for key, _, _ in summary(lines)] == ["kept/0", "loss"]


def test_a_label_that_mlflow_does_not_take_is_spelled_out() -> None:
    assert [key for key, _, _ in summary([line(condition="label=#")])] == ["loss/label:U0023"]


@pytest.fixture
def swept(sessions: Sessions, make_run: MakeRun) -> Run:
    """A finished run with a curve of 129 ranks for each of twelve conditions."""
    run = make_run(bounds=[(0, 8)])
    with transaction(sessions) as session:
        first = parts.claim(session, run.id, worker="w", lease=60)
        assert first is not None
        endings.finish_part(session, first, provenance={})
    last = claim(sessions, run.id)
    found = {
        ScoreKey(SET, Quantity("recovered", varied=Varied.read(f"{name}/{kind}")), x=rank): (
            Statistics(n=8, skipped=0, mean=rank / 128, sem=0.1, ci_low=0.0, ci_high=1.0),
            None,
        )
        for name in ("q", "k", "v", "qk", "qkv", "z")
        for kind in ("leading", "placebo")
        for rank in range(129)
    }
    with transaction(sessions) as session:
        scores.insert_scores(session, run.id, run.model_id, found)
        endings.finish_run(
            session,
            last,
            notes=RunNotes(headline=Quantity("recovered", varied=Varied.read("qk/leading"))),
        )
    return run


def test_curves_of_a_thousand_points_and_more_are_drawn_by_mlflow_over_their_ranks(
    swept: Run, bench: WorkerContext, sessions: Sessions
) -> None:
    assert mirror.publish(sessions, bench.artifacts, swept.id, app_url=None)
    with transaction(sessions) as session:
        ids = publications.mlflow_ids(session, swept.id)
    assert ids is not None
    metrics = bench.artifacts.mlflow.get_run(ids.run_id).data.metrics
    assert len(metrics) == 12
    assert metrics["SET03/recovered/qk/leading"] == 1.0  # of the last step
    history = bench.artifacts.mlflow.get_metric_history(ids.run_id, "SET03/recovered/qk/placebo")
    assert [each.step for each in history] == list(range(129))
    assert [each.value for each in history] == [rank / 128 for rank in range(129)]
