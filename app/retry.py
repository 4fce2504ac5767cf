"""Reload a page that failed because the database was unavailable, once it is back."""

import streamlit as st

from app import data
from tracker.errors import TrackerError

_POLL_SECONDS = 2


def when_database_is_back(error: Exception) -> None:
    """Poll the database and reload the page when it responds, if the error is transient."""
    if data.is_transient(error):
        st.caption("This page reloads when the database is available again.")
        st.fragment(_reload_if_back, run_every=_POLL_SECONDS)()


def _reload_if_back() -> None:
    try:
        data.counts()
    except TrackerError:
        return
    st.rerun()
