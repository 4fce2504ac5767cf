"""The strip above all runs: how many are in each state, and who works on them."""

from collections.abc import Mapping

import streamlit as st

from analyses.shown import in_markdown
from app import data, phrases, widgets
from app.refusals import said
from tracker.domain import RunState


def strip(drawn: Mapping[RunState, int]) -> None:
    """Live counts; draws the whole page again when they are no longer those of its table."""
    with said():
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
        if counts != drawn:
            st.rerun()
