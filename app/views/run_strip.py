"""The strip above the list of runs: counts by state, and workers."""

from collections.abc import Mapping

import streamlit as st

from analyses.shown import in_markdown
from app import data, phrases, widgets
from app.refusals import show_errors
from tracker.domain import RunState


def strip(shown: Mapping[RunState, int]) -> None:
    """Refreshes counts; reruns the whole page when they differ from those of its table."""
    with show_errors():
        counts, workers = data.counts(), data.workers()
        with st.container(horizontal=True, vertical_alignment="center"):
            for state, count in counts.items():
                widgets.state(state, count=count)
            for worker in workers:
                st.caption(
                    f":material/memory: {in_markdown(phrases.worker(worker))}", width="content"
                )
        if not workers:
            st.warning(phrases.NO_WORKER, icon=":material/hourglass_empty:")
        if counts != shown:
            st.rerun()
