"""Workers and dispatchers as processes of their own, behind proxies of their own."""

import os
import platform
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from tracker.supervisor.process import Command, Process

from .proxy import Proxy
from .servers import family


@dataclass(frozen=True)
class Lines:
    """The proxies of one process."""

    database: Proxy
    broker: Proxy
    tracking: Proxy

    def __iter__(self) -> Iterator[Proxy]:
        return iter((self.database, self.broker, self.tracking))

    def heal(self) -> None:
        for each in self:
            each.heal()

    def close(self) -> None:
        for each in self:
            each.close()


class Actor:
    """A worker or a dispatcher."""

    def __init__(self, command: Command, lines: Lines) -> None:
        self.lines = lines
        self.log = command.log
        self.process = Process(command)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def name(self) -> str:
        """How a worker's name begins in the database; a few random letters end it."""
        return f"{platform.node()}:{self.pid}."

    @property
    def alive(self) -> bool:
        return self.process.exit_code is None

    @property
    def child(self) -> psutil.Process | None:
        """The one that does a worker's work, once it is there."""
        try:
            children = psutil.Process(self.pid).children()
            return next((c for c in children if "spawn_main" in " ".join(c.cmdline())), None)
        except psutil.NoSuchProcess:
            return None

    def kill_child(self) -> int | None:
        """SIGKILL to the child alone; its pid."""
        if (child := self.child) is not None:
            child.kill()
        return child.pid if child else None

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        self.process.kill()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM to the parent, as a supervisor asks for a warm shutdown."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Whatever state it is in."""
        self.kill()
        self.lines.close()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        for each in family(self.process):
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue
