"""Exceptions of libraries, as sentences: what was done, with which model, and what went wrong."""

import errno
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from analyses.errors import Refused

_LETTERS = 300  # of what an exception says


class EndedWith(Refused):
    """`what` names the step and the model's family."""

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__(
            f"{what} ended with {said_by(error)}{_place(error)}. transformers may not support this "
            f"config, or the family does something that is not accounted for: check the config, "
            f"use a model of another family, or report this one."
        )


def said_by(error: BaseException) -> str:
    """An exception's class and message, short, in one line."""
    message = textwrap.shorten(str(error), _LETTERS, placeholder=" …").rstrip(".")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


class DoesNotFit(Refused):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} does not fit into the memory that is free here. Close other programs, use a "
            f"smaller dtype, or a machine with more memory."
        )


@contextmanager
def in_free_memory(what: str) -> Iterator[None]:
    """Inside the block, a lack of memory becomes `DoesNotFit`; a worker lets it end the attempt."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise DoesNotFit(what) from error
        raise


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """Inside the block, what the model may be to blame for becomes `EndedWith`.

    That is neither what was `Refused`, nor a lack of memory, of disk or of rights.
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
    """On a GPU torch has a class for it, on the CPU only a sentence."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
