"""How a run stands: its state, the reason in words, its progress."""

from uuid import UUID

import streamlit as st

from analyses.shown import in_markdown
from app import data, phrases, widgets
from app.refusals import said
from tracker.domain import RunState


def header(run_id: str, drawn: RunState) -> None:
    """Live while the run is; draws the whole page again when the state is another."""
    with said():
        line = data.run(run_id).line
        with st.container(horizontal=True, vertical_alignment="center"):
            widgets.state(line.state)
            st.markdown(in_markdown(phrases.standing(line)), width="content")
        if not line.ended:
            st.progress(line.done / line.n_prompts)
        if line.state is RunState.QUEUED and not data.workers():
            st.warning(phrases.NO_WORKER, icon=":material/hourglass_empty:")
        if line.state is not drawn:
            st.rerun()


def cancel(run_id: UUID) -> None:
    """Ask the run to stop."""
    with said():
        data.cancel([run_id])
        st.toast("Asked to stop. A part under way stops after its current batch.")
