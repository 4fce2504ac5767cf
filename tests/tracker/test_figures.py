"""A run's pictures reach MLflow under their names; one that cannot be drawn costs no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from stored_runs import mlflow_ids

from analyses import registry
from analyses.pictures.findings import Findings, Grid
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import Component, Kind, Measured, NamedTensor, ScoreKey
from analyses.stored import ScoreDescription
from tracker.database.db import Sessions
from tracker.publishing import mirror
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

SEEN: list[Findings] = []
AWAY: list[bool] = []  # whether MLflow is, while a tensor is fetched


class PicturedParams(Params):
    """None of its own."""


def of_tensor(found: Findings) -> Figure:
    """What a plugin may draw: its tensor, fetched, and its scores."""
    SEEN.append(found)
    if AWAY:
        raise MlflowUnavailable(ConnectionError("gone"))
    figure = Figure()
    figure.subplots().imshow(found.tensor("row").values)
    return figure


def of_nothing(found: Findings) -> None:
    """Nothing to show."""


def broken(found: Findings) -> Figure:
    """A picture whose author forgot that there may be nothing."""
    return found.scores["missing"]  # type: ignore[index,return-value]


@pytest.fixture
def pictured() -> Iterator[None]:
    """An analysis `pictured` of two heads, with plots of every fate."""

    @analysis(
        "pictured",
        version=1,
        params=PicturedParams,
        stores=[
            ScoreDescription(
                metric="size", meaning="of it", unit="metres", where=((Kind.HEAD, ""),)
            ),
            ScoreDescription(
                metric="by_rank", meaning="at 0", where=((Kind.HEAD, ""),), x="the rank"
            ),
        ],
        plots={"row": of_tensor, "nothing": of_nothing, "broken": f"{__name__}:broken"},
    )
    def pictured(lm: Any, prompts: Any, params: Any, progress: Any) -> Measured:
        """Heads of known size."""
        heads = [Component(kind=Kind.HEAD, layer=1, index=index) for index in (0, 1)]
        scores = {
            ScoreKey(head, Quantity("size")): np.full(len(prompts), index, np.float32)
            for index, head in enumerate(heads)
        }
        scores[ScoreKey(heads[1], Quantity("by_rank"))] = np.ones(len(prompts), np.float32)
        row = NamedTensor(np.ones((len(prompts), 3), np.float32), ("prompt", "place"))
        return Measured(scores=scores, tensors={"row": row})

    globals()["pictured"] = pictured
    yield
    registry._ANALYSES.pop("pictured", None)
    SEEN.clear()
    AWAY.clear()


def test_pictures_are_files_under_their_names_and_a_broken_one_is_told_in_the_note(
    submit: Submit, bench: WorkerContext, sessions: Sessions, pictured: None
) -> None:
    run = submit(analysis="pictured").run
    work(bench, hint=None)
    ids = mlflow_ids(sessions, run.id)
    files = {each.path for each in bench.artifacts.mlflow.list_artifacts(ids.run_id, "plots")}
    assert files == {"plots/heads.png", "plots/row.png"}
    for file in files:
        content = Path(bench.artifacts.mlflow.download_artifacts(ids.run_id, file)).read_bytes()
        assert content.startswith(b"\x89PNG")
    mirrored = bench.artifacts.mlflow.get_run(ids.run_id)
    assert mirrored.info.status == "FINISHED"
    assert "No plots/broken.png: KeyError: 'missing'" in mirrored.data.tags["mlflow.note.content"]


def test_a_picture_is_drawn_from_means_intervals_units_and_tensors(
    submit: Submit, bench: WorkerContext, sessions: Sessions, pictured: None
) -> None:
    submit(analysis="pictured")
    work(bench, hint=None)
    (found,) = SEEN
    head = ScoreKey(Component(kind=Kind.HEAD, layer=1, index=1), Quantity("size"))
    estimate = found.scores[head]
    assert (estimate.n, estimate.mean, estimate.ci_low, estimate.ci_high) == (8, 1.0, 1.0, 1.0)
    assert found.axis_label("size") == "size (metres)"
    assert found.grid == Grid(layers=2, heads=4, kv_heads=2)  # only two heads were measured
    assert found.with_x == {ScoreKey(head.component, Quantity("by_rank"))}
    assert found.tensor("row").values.shape == (8, 3)


def test_an_mlflow_that_goes_away_while_a_tensor_is_fetched_is_waited_for(
    submit: Submit, bench: WorkerContext, sessions: Sessions, pictured: None
) -> None:
    AWAY.append(True)
    run = submit(analysis="pictured").run
    work(bench, hint=None)
    assert (
        bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id).info.status == "RUNNING"
    )
    AWAY.clear()
    assert mirror.publish(sessions, bench.artifacts, run.id, app_url=None)
    assert (
        bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id).info.status
        == "FINISHED"
    )


def test_an_analysis_that_is_not_installed_here_still_has_the_map_of_its_heads(
    submit: Submit, bench: WorkerContext, sessions: Sessions, pictured: None
) -> None:
    AWAY.append(True)
    run = submit(analysis="pictured").run
    work(bench, hint=None)
    del registry._ANALYSES["pictured"]
    assert mirror.publish(sessions, bench.artifacts, run.id, app_url=None)
    files = bench.artifacts.mlflow.list_artifacts(mlflow_ids(sessions, run.id).run_id, "plots")
    assert [each.path for each in files] == ["plots/heads.png"]
