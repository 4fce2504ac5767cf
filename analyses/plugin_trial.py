"""The process in which a plugin is tried: it imports the plugin, and tells how that went.

The importing one is a child of it, so that how it ended can be told even if it ended all at once.
"""

import atexit
import ctypes
import fcntl
import json
import os
import resource
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil

from analyses import page, registry
from analyses.errors import Refused
from analyses.plugins.found import Plugin
from analyses.plugins.leftovers import Leftovers

_MEMORY = (2 * 2**30, 4 * 2**30)  # bytes that may be written to: a quarter of what is free
_MOST_FILE = 2**30  # bytes of a file that is written
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_HIGH = 100  # a number under which a file is out of the way


def run(asked: Mapping[str, Any]) -> None:
    """Try the plugin and end; what is told are lines of JSON on standard output."""
    telling = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdin = os.fdopen(0, closefd=False)  # what was read of the other one is kept in it
    registry.own()
    _adopt_orphans()
    child = os.fork()
    if child == 0:
        _adopt_orphans()
        _Trial(telling, Plugin(**asked["plugin"])).run()
    _, status = os.waitpid(child, 0)
    _tell(telling, ended=os.waitstatus_to_exitcode(status))
    for left in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            left.kill()
    os._exit(0)


def _adopt_orphans() -> None:
    """What is started here and left stays a child of this process, where Linux allows that."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


class _Trial:
    def __init__(self, telling: int, plugin: Plugin) -> None:
        self.telling, self.plugin = telling, plugin
        self.process = os.getpid()
        self.before = Leftovers.now()

    def run(self) -> None:
        _limit()
        # Not in the main thread, as it will be imported later: it cannot set signal handlers.
        thread = threading.Thread(target=self._import)
        thread.start()
        thread.join()
        for said in self.before.since():
            _tell(self.telling, reason=said)
            break
        _tell(self.telling, stage="exit")
        atexit._run_exitfuncs()
        _tell(self.telling, done=True)
        os._exit(0)

    def _import(self) -> None:
        _tell(self.telling, stage="import")
        try:
            found = registry.imported(self.plugin)
            _tell(self.telling, stage="definition")
            for each in found.values():
                page.section(each)
            names = {name: each.function for name, each in found.items()}
            _tell(self.telling, names=names)
            if not found:
                _tell(self.telling, reason="it registers no analysis")
        except SystemExit as error:
            _tell(self.telling, reason=f"it called sys.exit({error.code!r}) when it was imported")
        except Refused as error:
            _tell(self.telling, reason=str(error))
        except BaseException as error:
            _tell(self.telling, reason=f"it raised {_said(error)}")
        if os.getpid() != self.process:  # a copy that the plugin has forked
            os._exit(0)


def _said(error: BaseException) -> str:
    try:
        return repr(error)[:1000]
    except Exception:
        return type(error).__name__


def _tell(telling: int, **what: Any) -> None:
    with suppress(OSError):  # a plugin may close every file; how it ended is told all the same
        os.write(telling, json.dumps(what).encode() + b"\n")


def _limit() -> None:
    least, most_of_all = _MEMORY
    limits = {
        resource.RLIMIT_DATA: min(most_of_all, max(least, psutil.virtual_memory().available // 4)),
        resource.RLIMIT_FSIZE: _MOST_FILE,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        given = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (given, hard))
