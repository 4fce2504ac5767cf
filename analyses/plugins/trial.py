"""A plugin is first imported in a process of its own, which gets no longer than a while.

Whatever it does there ends with that process: it prints into nothing, and processes that it starts
are ended with it.
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

from analyses.plugins.found import Plugin, plain

_SECONDS = "HEADBOOK_PLUGIN_SECONDS"
_USUAL = 20.0
_TRIAL = "HEADBOOK_PLUGIN_TRIAL"  # set in the process of a trial, and in all that it starts
# Of libraries whose threads take 40 MB each for every core: the memory of a trial has a bound.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# The path is taken over first, so that nothing is imported from where one stands.
_START = (
    "import json, sys; asked = json.load(sys.stdin); sys.path[:] = asked['path']; "
    "from analyses import plugin_trial; plugin_trial.run(asked)"
)
_STAGES = {
    "begin": "while Headbook itself was imported",
    "import": "while it was imported",
    "definition": "while what it defines was read",
    "exit": "in what it has registered for the end of the process",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a plugin registers, function by name, and why it cannot be used where it cannot."""

    names: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def seconds() -> float:
    """How long a plugin may take to be imported, and an answer of it that a person waits for."""
    try:
        given = float(os.environ.get(_SECONDS, _USUAL))
    except ValueError:
        return _USUAL
    return given if given > 0 else _USUAL


def under_way() -> bool:
    """Whether this process is one in which a plugin is tried: it tries no others."""
    return _TRIAL in os.environ


def tried(plugin: Plugin) -> Verdict:
    """The verdict about a plugin, by trying it."""
    limit = seconds()
    process = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | dict.fromkeys(_ONE_THREAD, "1") | {_TRIAL: "1"},
        start_new_session=True,
    )
    asked = json.dumps({"path": sys.path, "plugin": asdict(plugin)}).encode()
    try:
        said, _ = process.communicate(asked, timeout=limit)
    except subprocess.TimeoutExpired as error:
        stage = _told(error.stdout or b"").get("stage", "begin")
        where = _STAGES.get(stage, "")
        return Verdict(
            reason=f"it did not return within {limit:g} s {where} ({_SECONDS} gives it more)"
        )
    finally:
        _end(process)
    return _verdict(_told(said), process.returncode)


def _verdict(told: Mapping[str, Any], code: int) -> Verdict:
    stage = _STAGES.get(told.get("stage", "begin"), "")
    if "ended" not in told:
        if code == 0 or told.get("stage") is None:
            return Verdict(reason="it cannot be tried: a process for it does not start")
        return Verdict(reason=f"it kills the process that has started its own, {stage}")
    if told.get("reason"):
        return Verdict(reason=plain(told["reason"], 600))
    if told["ended"] < 0:
        return Verdict(reason=f"it ends its process by {_signal(-told['ended'])} {stage}")
    if told["ended"] > 0 or not told.get("done"):
        how = "" if told["ended"] else ", or closes all its files,"
        return Verdict(reason=f"it ends its process with exit code {told['ended']}{how} {stage}")
    return Verdict(names={plain(name): plain(each) for name, each in told["names"].items()})


def _told(said: bytes) -> dict[str, Any]:
    """All that the process has told, line by line, the last word about each thing."""
    told: dict[str, Any] = {}
    for line in said.splitlines():
        with suppress(ValueError, TypeError):
            told.update(json.loads(line))
    return told


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started."""
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
