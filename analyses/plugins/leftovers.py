"""Detects side effects of an import that cannot be undone."""

import builtins
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_STREAMS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """The state of a process before an import."""

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
        """The side effects since then, in words, the most serious first."""
        for name, builtin in self.builtins.items():
            if name != "_" and vars(builtins).get(name) is not builtin:
                yield f"it replaces the builtin {name!r}"
        if tuple(map(_file, _STREAMS)) != self.streams:
            yield "it closes or replaces the standard streams of the process"
        for thread in set(threading.enumerate()) - self.threads:
            yield f"it leaves a thread running ({thread.name[:40]!r})"
        if _children() - self.children:
            yield "it leaves a process running"


def _children() -> frozenset[int]:
    return frozenset(child.pid for child in psutil.Process().children())


def _file(number: int) -> object:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
