"""Waiting for what other processes and threads do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def when(found: Callable[[], T], *, seconds: float = 30) -> T:
    """What it gives, as soon as that is true."""
    end = time.monotonic() + seconds
    while not (given := found()):
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.05)
    return given
