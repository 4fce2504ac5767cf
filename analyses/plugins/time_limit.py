"""Waits for code of others no longer than a while; whoever waited goes on without it."""

import contextvars
import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from analyses.errors import Refused

Value = TypeVar("Value")


class NoReturn(Refused):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"did not return within {seconds:g} s")


class Ended(Refused):
    """It raised what would end the process."""

    def __init__(self, error: BaseException) -> None:
        if isinstance(error, SystemExit):
            super().__init__(f"called sys.exit({error.code!r})")
        else:
            super().__init__(f"raised {error!r}")


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """What the call gives or raises, in a thread of its own.

    Raises `NoReturn`, and `Ended` for what would end the process. A call that does not return is
    told to end; one that waits in C code for ever stays, and nobody waits for it.
    """
    given: list[Value] = []
    raised: list[BaseException] = []
    process = os.getpid()

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:
            raised.append(error)
        if os.getpid() != process:  # the call has forked: this one is not awaited
            os._exit(0)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="plugin", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _tell_to_end(thread)
        raise NoReturn(seconds)
    if raised:
        raise raised[0] if isinstance(raised[0], Exception) else Ended(raised[0]) from raised[0]
    return given[0]


def _tell_to_end(thread: threading.Thread) -> None:
    """Raises SystemExit in it as soon as it runs Python again."""
    number = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(SystemExit))
