"""A request as a person would write it: in a shell, in Python, in a study file."""

import streamlit as st

from analyses.shown import plain
from tracker.domain import RunRequest


def draw(request: RunRequest) -> None:
    """The command, and the other forms where they are asked for."""
    _code(request.as_command(), "bash")
    with st.expander("As Python, and as a study file for `headbook submit --file`"):
        _code(request.as_python(), "python")
        _code(request.as_yaml().rstrip(), "yaml")


def _code(text: str, language: str) -> None:
    st.code(plain(text), language=language, wrap_lines=True)
