"""The subprocess in which a plugin is tried: imports the plugin and reports the outcome.

A child process does the import, so that a crash of the child can be reported too.
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
from analyses.plugins.discovery import Plugin
from analyses.plugins.leftovers import Leftovers

_MEMORY = (2 * 2**30, 4 * 2**30)  # bytes of data: a quarter of the free memory, within these
_MOST_FILE = 2**30  # bytes of a file that it writes
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_HIGH = 100  # lowest file descriptor for reports, so that a plugin does not touch it by chance


def run(request: Mapping[str, Any]) -> None:
    """Try the plugin, report in lines of JSON on standard output, and exit."""
    reports = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdin = os.fdopen(0, closefd=False)  # the old one holds what it has buffered
    registry.own()
    _adopt_orphans()
    child = os.fork()
    if child == 0:
        _adopt_orphans()
        _Trial(reports, Plugin(**request["plugin"])).run()
    _, status = os.waitpid(child, 0)
    _report(reports, ended=os.waitstatus_to_exitcode(status))
    for child_left in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child_left.kill()
    os._exit(0)


def _adopt_orphans() -> None:
    """Make orphaned descendants children of this process, where the system supports it."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


class _Trial:
    def __init__(self, reports: int, plugin: Plugin) -> None:
        self.reports, self.plugin = reports, plugin
        self.process = os.getpid()
        self.before = Leftovers.now()

    def run(self) -> None:
        _limit()
        # In a thread, as in real use, where it cannot set signal handlers.
        thread = threading.Thread(target=self._import)
        thread.start()
        thread.join()
        for side_effect in self.before.since():
            _report(self.reports, reason=side_effect)
            break
        _report(self.reports, stage="exit")
        atexit._run_exitfuncs()
        _report(self.reports, done=True)
        os._exit(0)

    def _import(self) -> None:
        _report(self.reports, stage="import")
        try:
            analyses = registry.imported(self.plugin)
            _report(self.reports, stage="definition")
            for analysis in analyses.values():
                page.section(analysis)
            names = {name: analysis.function for name, analysis in analyses.items()}
            _report(self.reports, names=names)
            if not analyses:
                _report(self.reports, reason="it registers no analysis")
        except SystemExit as error:
            _report(self.reports, reason=f"it called sys.exit({error.code!r}) when it was imported")
        except Refused as error:
            _report(self.reports, reason=str(error))
        except BaseException as error:
            _report(self.reports, reason=f"it raised {_described(error)}")
        if os.getpid() != self.process:  # a child that the plugin forked
            os._exit(0)


def _described(error: BaseException) -> str:
    try:
        return repr(error)[:1000]
    except Exception:
        return type(error).__name__


def _report(reports: int, **what: Any) -> None:
    with suppress(OSError):  # a plugin may close every file; its exit status is still reported
        os.write(reports, json.dumps(what).encode() + b"\n")


def _limit() -> None:
    least, most_of_all = _MEMORY
    limits = {
        resource.RLIMIT_DATA: min(most_of_all, max(least, psutil.virtual_memory().available // 4)),
        resource.RLIMIT_FSIZE: _MOST_FILE,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (soft, hard))
