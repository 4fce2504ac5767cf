"""What is done at a fault point: `(point, original, *args, **kwargs)`, as `sitecustomize` says.

`when` is `before` or `after` the original (default before). `skip` calls pass first, in each
process. With `flag`, a path, it happens once in all processes that share it: whoever makes the
file acts, and writes its pid into it.
"""

import os
import signal
import time
from collections import Counter

_CALLS = Counter()


def kill(point, original, *args, **kwargs):
    """SIGKILL to its own process."""
    return _around(lambda: os.kill(os.getpid(), signal.SIGKILL), point, original, args, kwargs)


def freeze(point, original, *args, **kwargs):
    """SIGSTOP to its own process; it goes on after SIGCONT."""
    return _around(lambda: os.kill(os.getpid(), signal.SIGSTOP), point, original, args, kwargs)


def leave(point, original, *args, **kwargs):
    """`os._exit` with the point's `code`, as a process that gives up."""
    return _around(lambda: os._exit(point.get("code", 1)), point, original, args, kwargs)


def sleep(point, original, *args, **kwargs):
    """The point's `seconds`."""
    return _around(lambda: time.sleep(point["seconds"]), point, original, args, kwargs)


def out_of_memory(point, original, *args, **kwargs):
    return _around(_raise_memory_error, point, original, args, kwargs)


def shift(point, original, *args, **kwargs):
    """The original's number and the point's `seconds`: a clock that is wrong."""
    return original(*args, **kwargs) + point["seconds"]


def _raise_memory_error():
    raise MemoryError


def _around(act, point, original, args, kwargs):
    due = _is_due(point)
    if due and point.get("when", "before") == "before":
        act()
    given = original(*args, **kwargs)
    if due and point.get("when") == "after":
        act()
    return given


def _is_due(point):
    _CALLS[str(point)] += 1
    if _CALLS[str(point)] <= point.get("skip", 0):
        return False
    if "flag" not in point:
        return True
    try:
        with open(point["flag"], "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
