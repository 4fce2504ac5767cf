"""Pictures of scores as altair charts: pure functions of values."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from tracker.reports import ScoreLine

WIDEST, TALLEST = 620, 640  # pixels of the map, unless its cells become too small
SMALLEST, LARGEST = 9, 40  # pixels of a cell


def head_frame(heads: Sequence[ScoreLine]) -> pd.DataFrame:
    """One row per head; `mean` is NaN where no prompt counted."""
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


def head_map(heads: Sequence[ScoreLine], *, title: str) -> alt.Chart:
    """Layer by head, layer 0 at the bottom; white is 0, both colours end equally far from it."""
    frame = head_frame(heads)
    strongest = float(frame["mean"].abs().max() or 0.0)
    limit = strongest if strongest > 0 else 1.0
    wide = _cell(WIDEST, int(frame["index"].max()) + 1)
    tall = min(wide, _cell(TALLEST, int(frame["layer"].max()) + 1))
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_rect(stroke="#8883", strokeWidth=0.5)
        .encode(
            x=alt.X("index:O", title="head", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("layer:O", title="layer", sort="descending", axis=alt.Axis(labelOverlap=True)),
            color=alt.Color(
                "mean:Q",
                scale=alt.Scale(scheme="redblue", reverse=True, domain=[-limit, limit]),
                legend=alt.Legend(title=title, format=".2g", titleLimit=300, orient="top"),
            ),
            tooltip=[
                alt.Tooltip("head:N", title="head"),
                alt.Tooltip("mean:Q", title="mean", format=".4f"),
                alt.Tooltip("ci_low:Q", title="95 % from", format=".4f"),
                alt.Tooltip("ci_high:Q", title="to", format=".4f"),
                alt.Tooltip("n:Q", title="prompts"),
            ],
        )
        .properties(width=alt.Step(wide), height=alt.Step(tall))
    )
    return chart


def _cell(pixels: int, count: int) -> int:
    return min(LARGEST, max(SMALLEST, pixels // count))
