"""What happened to a run and what was said about it: the last lines, live while it is."""

from uuid import UUID

import streamlit as st

from app import data
from app.refusals import said
from tracker import results
from tracker.results import RunLog

HEIGHT = 560  # pixels


def draw(run_id: UUID) -> None:
    """The last lines; looked for again every 2 s while more may come."""
    live = data.log_tail(run_id).live
    st.fragment(_tail, run_every=2 if live else None)(run_id, live)


def _tail(run_id: UUID, drawn_live: bool) -> None:
    with said():
        log = data.log_tail(run_id)
        st.caption(_about(run_id, log))
        with st.container(height=HEIGHT, autoscroll=True):
            text = "\n".join(map(results.as_text, log.lines))
            st.code(text, language=None, wrap_lines=True)
        if drawn_live and not log.live:
            st.rerun()  # without looking again


def _about(run_id: UUID, log: RunLog) -> str:
    newest = f"The last {data.TAIL} lines; all of them: " if log.cut else "The same in a shell: "
    follow = " --follow" if log.live else ""
    return f"{newest}`headbook runs logs {str(run_id)[:8]}{follow}`. Times are UTC."
