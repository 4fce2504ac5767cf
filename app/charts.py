"""Altair charts of scores: pure functions of values."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from analyses.results import Component, Kind
from tracker.results import ScoreLine

MAX_WIDTH, MAX_HEIGHT = 620, 640  # of the map, in pixels, unless its cells become too small
MIN_CELL, MAX_CELL = 9, 40  # width of a cell, in pixels
MISSING = "#9a9a9a"  # distinct from the white of 0, on light and dark pages


def head_frame(heads: Sequence[ScoreLine]) -> pd.DataFrame:
    """One row per head; `mean` is NaN if every prompt was skipped."""
    return pd.DataFrame(
        {
            "head": [line.component.label for line in heads],
            "layer": [line.component.layer for line in heads],
            "index": [line.component.index for line in heads],
            "mean": pd.Series([line.mean for line in heads], dtype=float),
            "ci_low": pd.Series([line.ci_low for line in heads], dtype=float),
            "ci_high": pd.Series([line.ci_high for line in heads], dtype=float),
            "n": [line.n for line in heads],
        }
    )


def missing_frame(heads: Sequence[ScoreLine], heads_of: Sequence[int]) -> pd.DataFrame:
    """One row per head of the model without a value, and the reason.

    `heads_of` is the number of heads of each layer.
    """
    known = {(line.component.layer, line.component.index): line.mean for line in heads}
    missing = [
        (Component(kind=Kind.HEAD, layer=layer, index=index), (layer, index) in known)
        for layer, n_heads in enumerate(heads_of)
        for index in range(n_heads)
        if known.get((layer, index)) is None
    ]
    return pd.DataFrame(
        {
            "head": [head.label for head, _ in missing],
            "layer": [head.layer for head, _ in missing],
            "index": [head.index for head, _ in missing],
            "why": ["no value" if measured else "not measured" for _, measured in missing],
        }
    )


def head_map(heads: Sequence[ScoreLine], heads_of: Sequence[int], *, title: str) -> alt.LayerChart:
    """A map of layer by head, layer 0 at the bottom; the colour scale is symmetric about 0 (white).

    The grid has every head of the model; heads without a value are grey.
    """
    n_layers, n_heads = len(heads_of), max(heads_of)
    wide = _cell(MAX_WIDTH, n_heads)
    tall = min(wide, _cell(MAX_HEIGHT, n_layers))
    x = alt.X(
        "index:O",
        title="head",
        scale=alt.Scale(domain=list(range(n_heads))),
        axis=alt.Axis(labelAngle=0, labelOverlap=True),
    )
    y = alt.Y(
        "layer:O",
        title="layer",
        scale=alt.Scale(domain=list(reversed(range(n_layers)))),
        axis=alt.Axis(labelOverlap=True),
    )
    missing = (
        alt.Chart(missing_frame(heads, heads_of))
        .mark_rect(fill=MISSING, stroke="#8883", strokeWidth=0.5)
        .encode(x=x, y=y, tooltip=[alt.Tooltip("head:N"), alt.Tooltip("why:N", title="value")])
    )
    measured = _measured(head_frame(heads).dropna(subset=["mean"]), title=title)
    layers = [missing, measured.encode(x=x, y=y)]
    return alt.LayerChart(layer=layers, width=alt.Step(wide), height=alt.Step(tall))


def _measured(frame: pd.DataFrame, *, title: str) -> alt.Chart:
    strongest = float(frame["mean"].abs().max()) if len(frame) else 0.0
    limit = strongest if strongest > 0 else 1.0
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_rect(stroke="#8883", strokeWidth=0.5)
        .encode(
            color=alt.Color(
                "mean:Q",
                scale=alt.Scale(scheme="redblue", reverse=True, domain=[-limit, limit]),
                legend=alt.Legend(title=title, format=".2g", titleLimit=300, orient="top"),
            ),
            tooltip=[
                alt.Tooltip("head:N", title="head"),
                alt.Tooltip("mean:Q", title="mean", format=".4f"),
                alt.Tooltip("ci_low:Q", title="95 % CI from", format=".4f"),
                alt.Tooltip("ci_high:Q", title="to", format=".4f"),
                alt.Tooltip("n:Q", title="prompts"),
            ],
        )
    )
    return chart


def _cell(pixels: int, count: int) -> int:
    return min(MAX_CELL, max(MIN_CELL, pixels // count))
