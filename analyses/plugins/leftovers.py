"""What an import leaves behind that nobody can put back."""

import builtins
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_STREAMS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """Of a process before an import."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    streams: tuple[object, ...]
    builtins: dict[str, object]

    @classmethod
    def now(cls) -> "Leftovers":
        return cls(
            threads=frozenset(threading.enumerate()),
            children=_children(),
            streams=tuple(map(_file, _STREAMS)),
            builtins=dict(vars(builtins)),
        )

    def since(self) -> Iterator[str]:
        """What has come since then, in words; first what all else stands on."""
        for name, each in self.builtins.items():
            if name != "_" and vars(builtins).get(name) is not each:
                yield f"it replaces the builtin {name!r}"
        if tuple(map(_file, _STREAMS)) != self.streams:
            yield "it closes or replaces the standard streams of the process"
        for thread in set(threading.enumerate()) - self.threads:
            yield f"it leaves a thread running ({thread.name[:40]!r})"
        if _children() - self.children:
            yield "it leaves a process running"


def _children() -> frozenset[int]:
    return frozenset(each.pid for each in psutil.Process().children())


def _file(number: int) -> object:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino
