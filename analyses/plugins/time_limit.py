"""Calls plugin code with a time limit, after which the caller goes on without it."""

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
    """The call raised an exception that would end the process."""

    def __init__(self, error: BaseException) -> None:
        if isinstance(error, SystemExit):
            super().__init__(f"called sys.exit({error.code!r})")
        else:
            super().__init__(f"raised {error!r}")


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """Run the call in a thread; return what it returns, or raise what it raises.

    Raises `NoReturn` after that many seconds, and `Ended` for an exception that would end the
    process. The thread of a call that does not return is then stopped, unless it is blocked in C
    code, in which case it is abandoned.
    """
    returned: list[Value] = []
    raised: list[BaseException] = []
    process = os.getpid()

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:
            raised.append(error)
        if os.getpid() != process:  # a child that the call forked
            os._exit(0)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name="plugin", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _stop(thread)
        raise NoReturn(seconds)
    if raised:
        raise raised[0] if isinstance(raised[0], Exception) else Ended(raised[0]) from raised[0]
    return returned[0]


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in the thread as soon as it runs Python code again."""
    number = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(SystemExit))
