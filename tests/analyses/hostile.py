"""What a hostile model folder could make this process do, watched while one is loaded."""

import os
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

READ = ("config.json", "tokenizer.json", "model.safetensors.index.json")
SECONDS = 30  # no more than a way out of what would hang
_MEGABYTES = 400
_NEVER = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.sendto")
_watched: list[Path] = []
_seen: list[str] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    folder = str(_watched[-1])
    if event in _NEVER or event in _NETWORK:
        _seen.append(f"{event} {arguments!r:.100}")
    elif event == "exec" and isinstance(arguments[0], CodeType):
        if arguments[0].co_filename.startswith(folder):
            _seen.append(f"exec {arguments[0].co_filename}")
    elif event == "open" and isinstance(arguments[0], str | Path):
        path = os.fspath(arguments[0])
        if path.startswith(folder + "/") and not _may_be_read(path):
            _seen.append(f"open {path}")


sys.addaudithook(_listen)


def _may_be_read(path: str) -> bool:
    return os.path.basename(path) in READ or path.endswith((".safetensors", ".gguf"))


class Hangs(BaseException):
    """No exception that is made a sentence of."""


def _ring(*_: object) -> None:
    raise Hangs


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Inside the block nothing of the folder is run, no more than a model is read, and in time."""
    before, modules = _peak(), set(sys.modules)
    _seen.clear()
    _watched.append(folder)
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        _watched.pop()
    assert not _seen
    assert not [name for name in set(sys.modules) - modules if _lies_in(name, folder)]
    assert _peak() - before < _MEGABYTES
    assert not (folder / "canary").exists()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _lies_in(module: str, folder: Path) -> bool:
    return str(getattr(sys.modules[module], "__file__", "")).startswith(str(folder))


class Canary:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / "canary"),)


def make_special(path: Path, kind: str) -> None:
    """In the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    else:
        path.symlink_to({"endless": "/dev/zero", "loop": path.name, "nowhere": "missing"}[kind])
