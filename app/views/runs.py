"""The list of runs: state, progress and outcome."""

from functools import partial
from uuid import UUID

import streamlit as st

from analyses.plurals import counted
from analyses.shown import one_line
from app import data, links
from app.refusals import show_errors
from app.views import run_table
from app.views.run_strip import strip
from tracker.domain import ACTIVE, RunState


def _cancel(chosen: list[UUID]) -> None:
    with show_errors():
        data.cancel(chosen)
        st.toast(f"Cancellation of {counted(len(chosen), 'run')} requested.")


st.title("Runs")
counts = data.counts()
refresh_seconds = 3 if any(counts[state] for state in ACTIVE) else None
st.fragment(strip, run_every=refresh_seconds)(counts)

with st.container(horizontal=True, vertical_alignment="bottom"):
    states = st.segmented_control(
        "State",
        [state.value for state in RunState],
        selection_mode="multi",
        key="state",
        bind="query-params",
    )
    analysis = st.selectbox(
        "Analysis",
        [analysis.name for analysis in data.analyses()],
        index=None,
        placeholder="All analyses",
        format_func=one_line,
        key="only",
        bind="query-params",
        width=240,
    )
lines = data.runs([RunState(state) for state in states], analysis)
if not lines:
    if any(counts.values()):
        st.info("No runs match these filters. Clear the filters to see all runs.")
    else:
        st.info("No runs yet. Queue the first one.")
        st.page_link("views/queue_form.py", label="Queue a run", icon=":material/add:")
    st.stop()

mlflow = data.mlflow_pages()
selected = st.session_state.get("selected", [])
chosen = [line for line in lines if line.id in selected]
active = [line.id for line in chosen if not line.ended]
with st.container(horizontal=True, vertical_alignment="center"):
    st.button(
        f"Cancel {len(active)}" if active else "Cancel",
        disabled=not active,
        on_click=partial(_cancel, active),
        icon=":material/block:",
    )
    in_mlflow = [line for line in chosen if line.mlflow_run_id]
    st.link_button(
        "Compare in MLflow",
        links.mlflow_comparison(mlflow, in_mlflow) if mlflow else "",
        disabled=mlflow is None or len(in_mlflow) < 2,
        icon=":material/compare_arrows:",
    )
    st.caption(run_table.selection_hint(chosen, in_mlflow, mlflow))

run_table.draw(lines, selected, mlflow)
if len(lines) == data.NEWEST:
    st.caption(f"The newest {data.NEWEST} runs. Filter to see older ones.")
