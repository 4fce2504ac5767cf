"""Links to the runs that a run depends on, and to its dependants."""

from collections.abc import Sequence

import streamlit as st

from analyses.shown import in_markdown
from tracker.results import LinkedRun, RunDetail

MAX_LINKS = 12  # per line


def draw(detail: RunDetail) -> None:
    """One line of links to inputs and one to dependants; empty lines are left out."""
    _line("Needs", detail.inputs)
    _line("Needed by", detail.dependants)


def _line(title: str, linked: Sequence[LinkedRun]) -> None:
    if not linked:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(title, width="content")
        for run in linked[:MAX_LINKS]:
            st.page_link(
                "views/run.py",
                label=in_markdown(
                    f"{run.name}: {run.analysis} {str(run.id)[:8]}, {run.state.value}"
                ),
                query_params={"id": str(run.id)},
            )
        if len(linked) > MAX_LINKS:
            st.caption(f"and {len(linked) - MAX_LINKS} more", width="content")
