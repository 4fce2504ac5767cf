"""Turns library exceptions into messages: the step, the model, and what went wrong."""

import errno
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from analyses.errors import Refused

_MOST_MESSAGE = 300  # characters of an exception's message


class EndedWith(Refused):
    """`what` names the step and the model's family."""

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(
            f"{what} ended with {said_by(error)}{_place(error)}. transformers may not support this "
            f"config, or this family may not be supported: check the config, use another model "
            f"family, or report this one."
        )


def said_by(error: BaseException) -> str:
    """An exception's class and message in one line, shortened."""
    message = textwrap.shorten(str(error), _MOST_MESSAGE, placeholder=" …").rstrip(".")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


class DoesNotFit(Refused):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} does not fit in the free memory (out of memory). Close other programs, use a "
            f"smaller dtype, or use a machine with more memory."
        )


@contextmanager
def in_free_memory(what: str) -> Iterator[None]:
    """Inside the block, running out of memory raises `DoesNotFit`.

    A worker does not use this: there, running out of memory ends the attempt.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise DoesNotFit(what) from error
        raise


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Inside the block, an exception that the model may have caused becomes `EndedWith`.

    A `Refused`, and a lack of memory, disk space or permissions, are raised unchanged.
    """
    try:
        yield
    except (Refused, PermissionError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or _is_full(error):
            raise
        raise EndedWith(what, error) from error


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch has an exception for it on GPUs, only a message on CPUs."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
