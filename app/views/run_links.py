"""The runs that a run needs, and those that need it."""

from collections.abc import Sequence

import streamlit as st

from analyses.shown import in_markdown
from tracker.results import LinkedRun, RunDetail

MOST = 12  # links in a line


def draw(detail: RunDetail) -> None:
    """A line of links for each of both, where there are some."""
    _line("Needs", detail.inputs)
    _line("Needed by", detail.dependants)


def _line(title: str, linked: Sequence[LinkedRun]) -> None:
    if not linked:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(title, width="content")
        for each in linked[:MOST]:
            st.page_link(
                "views/run.py",
                label=in_markdown(
                    f"{each.name}: {each.analysis} {str(each.id)[:8]}, {each.state.value}"
                ),
                query_params={"id": str(each.id)},
            )
        if len(linked) > MOST:
            st.caption(f"and {len(linked) - MOST} more", width="content")
