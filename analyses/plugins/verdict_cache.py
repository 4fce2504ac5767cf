"""Verdicts about plugins, cached in the user's own folder until something about a plugin changes.

A folder that belongs to another user or is writable by others is not used; every process then
tries the plugins itself.
"""

import hashlib
import json
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analyses.plugins.discovery import OURS, Plugin
from analyses.plugins.trial import Verdict, seconds, tried

_MOST_FILES = 5000  # of a plugin that are checked for changes
# A broken plugin is tried again after this multiple of the time its trial took, as the cause may
# lie outside it,
_RETRY_FACTOR, _LEAST_WAIT = 30.0, 600.0  # and at least these seconds
_FOREVER = 10 * 365 * 86400.0


def verdict(plugin: Plugin) -> Verdict:
    """The verdict about a plugin, from the cache or else from a trial."""
    file = _folder() / f"{_hash(plugin.distribution.split(' ')[0], plugin.name)}.json"
    state = _state(plugin)
    cached = _read(file)
    if cached.get("state") == state and time.time() < cached.get("until", 0):
        return Verdict(names=cached["names"], reason=cached["reason"])
    begun = time.monotonic()
    new = tried(plugin)
    if new.reason:  # it would register what it registered when it last worked
        new = Verdict(names=cached.get("names", {}), reason=new.reason)
    took = time.monotonic() - begun
    lasting = max(_LEAST_WAIT, _RETRY_FACTOR * took) if new.reason else _FOREVER
    _write(
        file,
        {
            "state": state,
            "names": dict(new.names),
            "reason": new.reason,
            "until": time.time() + lasting,
        },
    )
    return new


def _state(plugin: Plugin) -> str:
    """A hash of all that decides a verdict: files, interpreter, installed packages, time limit."""
    try:
        ours = version(OURS)
    except PackageNotFoundError:
        ours = ""
    return _hash(
        plugin,
        sys.version,
        sys.executable,
        platform.node(),
        ours,
        seconds(),
        _installed(),
        list(_files(plugin)),
    )


@cache
def _installed() -> list[str]:
    """The installed distributions with their versions, whatever the order of the path."""
    return sorted({Path(str(getattr(each, "_path", ""))).name for each in distributions()})


def _files(plugin: Plugin) -> Iterator[tuple[str, int, int]]:
    with suppress(Exception):  # a third-party finder, such as of an editable install
        package = plugin.module.partition(".")[0]
        spec = PathFinder.find_spec(package) or find_spec(package)
        if spec is None:
            return
        yield from ((spec.origin, *_size_and_time(Path(spec.origin))) for _ in (1,) if spec.origin)
        count = 0
        for root in spec.submodule_search_locations or ():
            for folder, folders, names in os.walk(root):
                folders.sort()
                for name in sorted(names):
                    if name.endswith((".py", ".so")) and count < _MOST_FILES:
                        count += 1
                        path = os.path.join(folder, name)
                        yield path, *_size_and_time(Path(path))


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _hash(*of: object) -> str:
    return hashlib.sha256(repr(of).encode(errors="surrogateescape")).hexdigest()


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "headbook" / "plugins"


def _private(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return own and not status.st_mode & 0o077


def _read(file: Path) -> dict[str, Any]:
    """The cached verdict; empty if it is missing, malformed or not private."""
    if not _private(file.parent):
        return {}
    try:
        cached = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    expected = {"state": str, "names": dict, "reason": str, "until": float}
    whole = isinstance(cached, dict) and all(
        isinstance(cached.get(name), kind) for name, kind in expected.items()
    )
    return cached if whole else {}


def _write(file: Path, verdict: dict[str, Any]) -> None:
    with suppress(OSError):  # without a cache the plugin is tried again
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(file.parent):
            return
        number, draft = tempfile.mkstemp(dir=file.parent)
        with open(number, "w", encoding="utf-8") as written:
            json.dump(verdict, written)
        os.replace(draft, file)
