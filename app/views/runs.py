"""Runs: what was queued, how far it is, how it ended."""

from functools import partial
from uuid import UUID

import streamlit as st

from analyses.shown import one_line
from app import data, links
from app.refusals import said
from app.views import run_table
from app.views.run_strip import strip
from tracker.domain import ACTIVE, RunState


def _cancel(chosen: list[UUID]) -> None:
    with said():
        data.cancel(chosen)
        st.toast(f"Asked to stop: {len(chosen)}.")


st.title("Runs")
counts = data.counts()
every = 3 if any(counts[state] for state in ACTIVE) else None
st.fragment(strip, run_every=every)(counts)

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
        [each.name for each in data.analyses()],
        index=None,
        placeholder="every analysis",
        format_func=one_line,
        key="only",
        bind="query-params",
        width=240,
    )
lines = data.runs([RunState(state) for state in states], analysis)
if not lines:
    if any(counts.values()):
        st.info("No run is like this. Clear the filters to see the others.")
    else:
        st.info("No run yet. Queue the first one.")
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
    there = [line for line in chosen if line.mlflow_run_id]
    st.link_button(
        "Compare in MLflow",
        links.mlflow_comparison(mlflow, there) if mlflow else "",
        disabled=mlflow is None or len(there) < 2,
        icon=":material/compare_arrows:",
    )
    st.caption(run_table.about_choice(chosen, there, mlflow))

run_table.draw(lines, selected, mlflow)
if len(lines) == data.NEWEST:
    st.caption(f"The newest {data.NEWEST} runs. Filter to see older ones.")
