"""A request as code: a shell command, Python, a study file."""

import streamlit as st

from analyses.shown import plain
from tracker.domain import RunRequest


def draw(request: RunRequest) -> None:
    """Show the shell command, and in an expander the Python code and the study file."""
    _code(request.as_command(), "bash")
    with st.expander("As Python, and as a study file for `headbook submit --file`"):
        _code(request.as_python(), "python")
        _code(request.as_yaml().rstrip(), "yaml")


def _code(text: str, language: str) -> None:
    st.code(plain(text), language=language, wrap_lines=True)
