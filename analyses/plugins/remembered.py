"""Verdicts about plugins, kept in a folder of this user until something about a plugin changes.

A folder that others may write to, or that is another's, is not used: then every process tries.
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

from analyses.plugins.found import OURS, Plugin
from analyses.plugins.trial import Verdict, seconds, tried

_MOST_FILES = 5000  # of a plugin that are looked at
# What is broken may be mended elsewhere: it is tried again after this many times what that took.
_AGAIN, _AT_LEAST = 30.0, 600.0  # and at least these seconds
_FOR_GOOD = 10 * 365 * 86400.0


def verdict(plugin: Plugin) -> Verdict:
    """The verdict about the plugin as it is now; it is tried unless it was before."""
    file = _folder() / f"{_hash(plugin.distribution.split(' ')[0], plugin.name)}.json"
    state = _state(plugin)
    kept = _read(file)
    if kept.get("state") == state and time.time() < kept.get("until", 0):
        return Verdict(names=kept["names"], reason=kept["reason"])
    begun = time.monotonic()
    found = tried(plugin)
    if found.reason:  # what it brought when it could be used is what it would bring
        found = Verdict(names=kept.get("names", {}), reason=found.reason)
    took = time.monotonic() - begun
    lasting = max(_AT_LEAST, _AGAIN * took) if found.reason else _FOR_GOOD
    _write(
        file,
        {
            "state": state,
            "names": dict(found.names),
            "reason": found.reason,
            "until": time.time() + lasting,
        },
    )
    return found


def _state(plugin: Plugin) -> str:
    """Of all that decides how it goes: its files, the interpreter, and what is installed."""
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
    """The distributions that are here, with their versions, wherever a process looks first."""
    return sorted({Path(str(getattr(each, "_path", ""))).name for each in distributions()})


def _files(plugin: Plugin) -> Iterator[tuple[str, int, int]]:
    with suppress(Exception):  # a finder that somebody has added, such as of an editable install
        package = plugin.module.partition(".")[0]
        spec = PathFinder.find_spec(package) or find_spec(package)
        if spec is None:
            return
        yield from ((spec.origin, *_seen(Path(spec.origin))) for _ in (1,) if spec.origin)
        found = 0
        for root in spec.submodule_search_locations or ():
            for folder, folders, names in os.walk(root):
                folders.sort()
                for name in sorted(names):
                    if name.endswith((".py", ".so")) and found < _MOST_FILES:
                        found += 1
                        path = os.path.join(folder, name)
                        yield path, *_seen(Path(path))


def _seen(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _hash(*of: object) -> str:
    return hashlib.sha256(repr(of).encode(errors="surrogateescape")).hexdigest()


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "headbook" / "plugins"


def _private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return mine and not found.st_mode & 0o077


def _read(file: Path) -> dict[str, Any]:
    """What was kept, nothing where it is not as we write it."""
    if not _private(file.parent):
        return {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    expected = {"state": str, "names": dict, "reason": str, "until": float}
    whole = isinstance(kept, dict) and all(
        isinstance(kept.get(name), kind) for name, kind in expected.items()
    )
    return kept if whole else {}


def _write(file: Path, kept: dict[str, Any]) -> None:
    with suppress(OSError):  # what cannot be kept is found again
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(file.parent):
            return
        number, draft = tempfile.mkstemp(dir=file.parent)
        with open(number, "w", encoding="utf-8") as written:
            json.dump(kept, written)
        os.replace(draft, file)
