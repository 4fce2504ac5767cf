"""How a page says what a person can put right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from analyses.errors import Refused
from analyses.shown import in_markdown
from tracker.errors import TrackerError
from tracker.secrets.urls import without_credentials


@contextmanager
def said(*, again: Callable[[Exception], None] | None = None) -> Iterator[None]:
    """Show a refusal inside the block as its sentence, in place of a traceback; then `again`."""
    try:
        yield
    except (TrackerError, Refused) as error:
        st.error(in_markdown(without_credentials(str(error))))
        if again is not None:
            again(error)
