"""The pictures of a run as PNG: the map of its heads, and those that its analysis draws."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from structlog import get_logger

from analyses.pictures import drawing
from analyses.pictures.findings import Estimate, Findings, Grid, NoSuchTensor
from analyses.pictures.plots import HEADS, Plot, loaded
from analyses.results import NamedTensor
from tracker.publishing.mlflow_errors import MlflowUnavailable
from tracker.results import RunDetail, ScoreLine
from tracker.results.run_names import name_of
from tracker.secrets.urls import first_line
from tracker.store.tensors import StoredTensor

log = get_logger(__name__)

SILENT = {"batch_size"}  # parameters that change no number in a picture
HEADLINE_MAP = "analyses.pictures.heads:headline_map"
_LONGEST = 200  # characters of the parameters in a title


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """PNG files by name, and why others could not be drawn."""

    drawn: Mapping[str, bytes]
    failed: Mapping[str, str]


def pictures(run: RunDetail, data: Findings, plots: Mapping[str, Plot | str]) -> Pictures:
    """Every picture for which there are numbers.

    A picture that cannot be drawn does not fail the run. Raises only `MlflowUnavailable`.
    """
    drawn: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    for name, plot in {HEADS: HEADLINE_MAP, **plots}.items():
        try:
            content = _drawn(plot, data, title=title(run))
        except MlflowUnavailable:
            raise
        except Exception as error:
            log.exception("a picture could not be drawn", run_id=str(run.line.id), picture=name)
            failed[name] = f"{type(error).__name__}: {first_line(error)}"
        else:
            if content is not None:
                drawn[name] = content
    return Pictures(drawn=drawn, failed=failed)


def _drawn(plot: Plot | str, data: Findings, *, title: str) -> bytes | None:
    with drawing.styled():
        figure = loaded(plot)(data)
        return None if figure is None else drawing.png(figure, title=title)


def title(run: RunDetail) -> str:
    """What was measured, on what, and how."""
    line = run.line
    params = ", ".join(f"{key}={value}" for key, value in line.params.items() if key not in SILENT)
    name = name_of(line)
    subject = f"{name.analysis} · {name.model} · {name.prompts}"
    return f"{subject}\n{textwrap.shorten(params, _LONGEST, placeholder=' …')}"


def findings(
    run: RunDetail,
    scores: Sequence[ScoreLine],
    tensors: Sequence[StoredTensor],
    *,
    units: Mapping[str, str],
    fetch: Callable[[StoredTensor], NamedTensor],
) -> Findings:
    """The data for pictures of a run; a tensor is fetched when a picture uses it."""
    stored = {described.name: described for described in tensors}

    def tensor(name: str) -> NamedTensor:
        if name not in stored:
            raise NoSuchTensor(name)
        return fetch(stored[name])

    return Findings(
        scores={line.key: score for line in scores if (score := _estimate(line)) is not None},
        with_x=frozenset(line.key for line in scores if line.has_x),
        grid=Grid(layers=run.n_layers, heads=run.n_heads, kv_heads=run.n_kv_heads),
        headline=run.notes.headline,
        units=units,
        tensor=tensor,
    )


def _estimate(line: ScoreLine) -> Estimate | None:
    if line.mean is None:
        return None
    return Estimate(n=line.n, mean=line.mean, ci_low=line.ci_low, ci_high=line.ci_high)
