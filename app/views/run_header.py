"""The header of a run's page: its state, the reason, its progress."""

from uuid import UUID

import streamlit as st

from analyses.shown import in_markdown
from app import data, phrases, widgets
from app.refusals import show_errors
from tracker.domain import RunState


def header(run_id: str, shown: RunState) -> None:
    """Refreshes while the run is active; reruns the whole page when the state changes."""
    with show_errors():
        line = data.run(run_id).line
        with st.container(horizontal=True, vertical_alignment="center"):
            widgets.state(line.state)
            st.markdown(in_markdown(phrases.progress(line)), width="content")
        if not line.ended:
            st.progress(line.done / line.n_prompts)
        if line.state is RunState.QUEUED and not data.workers():
            st.warning(phrases.NO_WORKER, icon=":material/hourglass_empty:")
        if line.state is not shown:
            st.rerun()


def cancel(run_id: UUID) -> None:
    """Request cancellation of the run."""
    with show_errors():
        data.cancel([run_id])
        st.toast("Cancellation requested. A part in progress stops after its current batch.")
