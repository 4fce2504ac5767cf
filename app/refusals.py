"""How a page says what a person can put right."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from analyses.errors import Refused
from tracker.errors import TrackerError


@contextmanager
def said() -> Iterator[None]:
    """Show a refusal inside the block as its sentence, in place of a traceback."""
    try:
        yield
    except (TrackerError, Refused) as error:
        st.error(str(error))
