"""A page that the database kept from being drawn is drawn when it answers."""

import streamlit as st

from app import data
from tracker.errors import TrackerError

_LOOK_EVERY = 2  # seconds


def when_the_database_answers(error: Exception) -> None:
    """Look for it again and again, where what was raised may pass."""
    if data.passes(error):
        st.caption("This page is drawn as soon as the database answers.")
        st.fragment(_look, run_every=_LOOK_EVERY)()


def _look() -> None:
    try:
        data.counts()
    except TrackerError:
        return
    st.rerun()
