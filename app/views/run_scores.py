"""The scores of a run: a map and a table of heads, tables of other components."""

from collections.abc import Sequence

import streamlit as st

from analyses.results import MODEL, Kind
from analyses.shown import in_markdown
from app import charts, score_rows
from tracker.domain import RunState
from tracker.results import RunDetail, RunLine, ScoreLine, as_csv, strongest, without_interval

STRONGEST = 20
COLUMNS = {
    "component": st.column_config.TextColumn("Component"),
    "metric": st.column_config.TextColumn("Metric"),
    "mean": st.column_config.NumberColumn("Mean", format="%.4f"),
    "ci_low": st.column_config.NumberColumn("95 % CI from", format="%.4f"),
    "ci_high": st.column_config.NumberColumn("to", format="%.4f"),
    "sem": st.column_config.NumberColumn("Std. error", format="%.4f"),
    "n": st.column_config.NumberColumn("Prompts", width=70),
    "skipped": st.column_config.NumberColumn("Skipped", width=70),
}
KINDS = {
    "MLPs": (Kind.MLP,),
    "Attention layers": (Kind.ATTN, Kind.ATTN_BIAS),
    "Embedding and unembedding": (Kind.EMBED, Kind.UNEMBED),
    "Key-value heads": (Kind.KV_HEAD,),
    "Sets of components": (Kind.SET,),
}


def heads(detail: RunDetail, scores: Sequence[ScoreLine]) -> None:
    """Show the map of one metric, and its best heads, or those furthest from 0."""
    line = detail.line
    metrics = score_rows.by_metric(score_rows.of_kind(scores, Kind.HEAD))
    if not metrics:
        _show_empty(line, "heads")
        return
    names = list(metrics)
    metric = st.selectbox("Metric", names, width=320) if len(names) > 1 else names[0]
    chosen = metrics[metric or names[0]]
    with st.container(horizontal=True, gap="large"):
        chart = charts.head_map(chosen, detail.heads_of, title=str(metric))
        st.altair_chart(chart, width="content")
        with st.container(width=500):
            _table(
                strongest(chosen, STRONGEST),
                title=score_rows.ranking(chosen),
                without=["metric"],
            )
    _download(line, scores)


def others(line: RunLine, scores: Sequence[ScoreLine]) -> None:
    """Show a table for each kind of component other than heads."""
    if not scores:
        _show_empty(line, "components")
        return
    columns = st.columns(2)
    of_model = score_rows.of_kind(scores, Kind.MODEL)
    by_kind = [
        ("Whole model", [score for score in of_model if score.component == MODEL]),
        ("Residuals that enter layers", [each for each in of_model if each.component != MODEL]),
        *((title, score_rows.of_kind(scores, *kinds)) for title, kinds in KINDS.items()),
    ]
    for number, (title, rows) in enumerate((t, r) for t, r in by_kind if r):
        with columns[number % 2]:
            _table(rows, title=title)
    _download(line, scores)


def _table(scores: Sequence[ScoreLine], *, title: str, without: Sequence[str] = ()) -> None:
    st.markdown(f"**{title}**")
    st.dataframe(
        score_rows.table(scores),
        column_config=COLUMNS,
        column_order=[column for column in COLUMNS if column not in without],
        hide_index=True,
        height="content" if len(scores) <= STRONGEST else 36 * STRONGEST,
        placeholder="",
    )
    for sentence in without_interval(scores):
        st.caption(in_markdown(sentence))


def _download(line: RunLine, scores: Sequence[ScoreLine]) -> None:
    st.download_button(
        "All scores as CSV",
        as_csv(scores),
        file_name=f"scores-{line.id}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
    )


def _show_empty(line: RunLine, what: str) -> None:
    if line.state is RunState.SUCCEEDED:
        st.info(f"This analysis has no scores for {what}.")
    elif line.ended:
        st.info(f"The run is {line.state.value}, so it has no scores.")
    else:
        st.info("Scores appear when the run has succeeded.")
