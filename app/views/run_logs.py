"""The last lines of a run's log, refreshed while the run is active."""

from uuid import UUID

import streamlit as st

from app import data
from app.refusals import show_errors
from tracker import results
from tracker.results import RunLog

HEIGHT = 560  # pixels


def draw(run_id: UUID) -> None:
    """Show the last lines; refresh every 2 s while more may follow."""
    live = data.log_tail(run_id).live
    st.fragment(_tail, run_every=2 if live else None)(run_id, live)


def _tail(run_id: UUID, was_live: bool) -> None:
    with show_errors():
        log = data.log_tail(run_id)
        st.caption(_caption(run_id, log))
        with st.container(height=HEIGHT, autoscroll=True):
            text = "\n".join(map(results.as_text, log.lines))
            st.code(text, language=None, wrap_lines=True)
        if was_live and not log.live:
            st.rerun()  # without refreshing any longer


def _caption(run_id: UUID, log: RunLog) -> str:
    shown = f"The last {data.TAIL} lines. Full log: " if log.cut else "The same in a shell: "
    follow = " --follow" if log.live else ""
    return f"{shown}`headbook runs logs {str(run_id)[:8]}{follow}`. Times are UTC."
