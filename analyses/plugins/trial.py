"""Tries a plugin: imports it in a subprocess, with a time limit.

Its side effects end with that process: its output is discarded, and the processes that it starts
are killed.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from analyses.plugins.discovery import Plugin, plain

_SECONDS = "HEADBOOK_PLUGIN_SECONDS"
_DEFAULT_SECONDS = 20.0
_TRIAL = "HEADBOOK_PLUGIN_TRIAL"  # set in the process of a trial, and in all that it starts
# Libraries whose threads take 40 MB each per core: the memory of a trial is limited.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# The path is copied first, so that nothing is imported from the current folder.
_START = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['path']; "
    "from analyses import plugin_trial; plugin_trial.run(request)"
)
_STAGES = {
    "begin": "while Headbook itself was imported",
    "import": "while it was imported",
    "definition": "while its analyses were checked",
    "exit": "in what it registered with atexit",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a plugin registers, function by name, and why it cannot be used, if so."""

    names: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def seconds() -> float:
    """The time limit in seconds of an import of a plugin, and of a call while a person waits."""
    try:
        limit = float(os.environ.get(_SECONDS, _DEFAULT_SECONDS))
    except ValueError:
        return _DEFAULT_SECONDS
    return limit if limit > 0 else _DEFAULT_SECONDS


def under_way() -> bool:
    """Whether this process is a trial, which does not try other plugins."""
    return _TRIAL in os.environ


def tried(plugin: Plugin) -> Verdict:
    """Try a plugin; the verdict."""
    limit = seconds()
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | dict.fromkeys(_ONE_THREAD, "1") | {_TRIAL: "1"},
        start_new_session=True,
    )
    request = json.dumps({"path": sys.path, "plugin": asdict(plugin)}).encode()
    try:
        output, _ = process.communicate(request, timeout=limit)
    except subprocess.TimeoutExpired as error:
        stage = _report(error.stdout or b"").get("stage", "begin")
        where = _STAGES.get(stage, "")
        return Verdict(
            reason=f"it did not return within {limit:g} s {where} (set {_SECONDS} to allow more)"
        )
    finally:
        _end(process)
    return _verdict(_report(output), process.returncode)


def _verdict(report: Mapping[str, Any], code: int) -> Verdict:
    stage = _STAGES.get(report.get("stage", "begin"), "")
    if "ended" not in report:
        if code == 0 or report.get("stage") is None:
            return Verdict(reason="it cannot be tried: a process for it does not start")
        return Verdict(reason=f"it kills its parent process {stage}")
    if report.get("reason"):
        return Verdict(reason=plain(report["reason"], 600))
    if report["ended"] < 0:
        return Verdict(reason=f"it ends its process by {_signal(-report['ended'])} {stage}")
    if report["ended"] > 0 or not report.get("done"):
        how = "" if report["ended"] else ", or closes all its files,"
        return Verdict(reason=f"it ends its process with exit code {report['ended']}{how} {stage}")
    names = report["names"].items()
    return Verdict(names={plain(name): plain(function) for name, function in names})


def _report(output: bytes) -> dict[str, Any]:
    """What the process has reported, in lines of JSON; a later value replaces an earlier one."""
    report: dict[str, Any] = {}
    for line in output.splitlines():
        with suppress(ValueError, TypeError):
            report.update(json.loads(line))
    return report


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and all that it has started."""
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
