"""How a page shows errors that a user can fix."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from analyses.errors import Refused
from analyses.shown import in_markdown
from tracker.errors import TrackerError
from tracker.secrets.urls import without_credentials


@contextmanager
def show_errors(*, then: Callable[[Exception], None] | None = None) -> Iterator[None]:
    """Show the message of a `TrackerError` or `Refused` raised in the block; then call `then`."""
    try:
        yield
    except (TrackerError, Refused) as error:
        st.error(in_markdown(without_credentials(str(error))))
        if then is not None:
            then(error)
