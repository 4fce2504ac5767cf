"""Loads models without the progress bars and warnings that transformers prints."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

# The settings are process-wide: overlapping blocks would restore each other's values.
_ONE_AT_A_TIME = RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, transformers prints only errors."""
    from transformers.utils import logging

    transformers_logging: Any = logging
    with _ONE_AT_A_TIME:
        bars = transformers_logging.is_progress_bar_enabled()
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity(transformers_logging.ERROR)
        try:
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
            if bars:
                transformers_logging.enable_progress_bar()
