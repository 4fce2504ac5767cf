"""The table of runs. The selection is kept as run ids, since rows move as runs are added."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import streamlit as st

from analyses.shown import one_line
from app import data, links, phrases
from tracker.results import RunLine

MAX_ROWS = 16  # above which the table scrolls
COLUMNS = {
    "run": st.column_config.LinkColumn("Run", display_text=r"id=(.{8})", width=90),
    "state": st.column_config.TextColumn("State", width=90),
    "analysis": st.column_config.TextColumn("Analysis"),
    "model": st.column_config.TextColumn("Model"),
    "prompts": st.column_config.TextColumn("Prompts"),
    "params": st.column_config.TextColumn("Parameters"),
    "progress": st.column_config.ProgressColumn(
        "Progress", format="percent", min_value=0, max_value=1, color="blue", width=120
    ),
    "seconds": st.column_config.NumberColumn("Seconds", format="%.1f", width=80),
    "reason": st.column_config.TextColumn("Reason", width="medium"),
    "created": st.column_config.DatetimeColumn(
        "Queued (UTC)", format="YYYY-MM-DD HH:mm:ss", width=160
    ),
    "mlflow": st.column_config.LinkColumn("MLflow", display_text="open", width=70),
}


def draw(lines: Sequence[RunLine], selected: Sequence[UUID], mlflow: str | None) -> None:
    """Show the table, with the selected runs marked at their current rows."""
    ids = [line.id for line in lines]
    rows = [row for row, run_id in enumerate(ids) if run_id in selected]
    st.session_state["runs"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    st.dataframe(
        [_row(line, mlflow) for line in lines],
        column_config=COLUMNS,
        key="runs",
        on_select=partial(_remember, ids),
        selection_mode="multi-row",
        hide_index=True,
        height="content" if len(lines) <= MAX_ROWS else 36 * MAX_ROWS,
        placeholder="",
    )


def selection_hint(
    selected: Sequence[RunLine], in_mlflow: Sequence[RunLine], mlflow: str | None
) -> str:
    """What can be done with the selected runs, and what cannot."""
    if not selected:
        return "Select runs at the left edge of the table to cancel or compare them."
    sentences = [f"{len(selected)} selected."]
    if mlflow is None:
        sentences.append(
            "MLflow has no web address here. Set MLFLOW_TRACKING_URI to its http(s) URL."
        )
    elif missing := len(selected) - len(in_mlflow):
        sentences.append(f"{missing} not in MLflow yet, so left out of the comparison.")
    return " ".join(sentences)


def _row(line: RunLine, mlflow: str | None) -> dict[str, object]:
    name = data.name(line)
    return {
        "run": links.run_page(line.id),
        "state": line.state.value,
        "analysis": one_line(name.analysis),
        "model": one_line(name.model),
        "prompts": one_line(name.prompts),
        "params": one_line(name.params),
        "progress": round(line.done / line.n_prompts, 2),
        "seconds": line.seconds,
        "reason": None if line.reason is None else one_line(line.reason),
        "created": phrases.utc(line.created_at),
        "mlflow": links.mlflow_run(mlflow, line),
    }


def _remember(ids: Sequence[UUID]) -> None:
    rows = st.session_state["runs"]["selection"]["rows"]
    st.session_state["selected"] = [ids[row] for row in rows if row < len(ids)]
