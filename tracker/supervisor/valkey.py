"""The embedded Valkey: the bundled binary on a private socket, with append-only persistence.

Its data only save the dispatcher some messages, so they never keep a stack from starting: data
that the server cannot read are moved aside.
"""

import os
import shutil
import socket
from datetime import UTC, datetime

from tracker.home.home import Home
from tracker.supervisor import binaries, folders, passwords, waiting
from tracker.supervisor.errors import StartFailed
from tracker.supervisor.process import Command, Process

SOCKET = "valkey.sock"
KEPT = ("valkey.conf", "run")  # in its folder; everything else is data
UNREADABLE = "unreadable-"  # followed by the time
SET_ASIDE = 2  # folders kept, the newest


class EmbeddedValkey:
    """The server of a home. Usable on its own: `start`, `url`, `stop`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.log = home.log("valkey")
        self._process: Process | None = None

    def start(self) -> str:
        """Start the server and wait until it is ready; returns the broker URL for Celery."""
        try:
            self._begin()
        except StartFailed:
            if not self.set_aside():
                raise
            self._begin()
        return self.url()

    def _begin(self) -> None:
        self._process = Process(self.prepare())
        try:
            waiting.until(self.ready, process=self._process, seconds=60)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process:
            self._process.stop()
            self._process = None
            self.tidy()

    def prepare(self) -> Command:
        """Write the configuration; returns the command that runs the server."""
        self._password = passwords.of_home(self.home).valkey
        folder = folders.private(self.home.root / "valkey")
        self._socket = folders.for_socket(folder / "run", SOCKET) / SOCKET
        config = folder / "valkey.conf"
        settings = {
            "dir": str(folder),
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "requirepass": self._password,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": "",
        }
        config.unlink(missing_ok=True)
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{key} {_quoted(value)}\n" for key, value in settings.items())
        return Command(
            name="valkey",
            argv=(str(binaries.valkey()), str(config)),
            env={"PATH": "/usr/bin:/bin"},
            cwd=folder,
            log=self.log,
        )

    def ready(self) -> bool:
        """Whether it answers and has loaded its data."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(str(self._socket))
                client.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                reply = b""
                while reply.count(b"\r\n") < 2 and (more := client.recv(256)):
                    reply += more
        except OSError:
            return False
        return reply == b"+OK\r\n+PONG\r\n"

    def set_aside(self) -> str | None:
        """Move the data aside, so the next start begins empty; returns what was done, if anything.

        For a server that exited before it was ready.
        """
        folder = self.home.root / "valkey"
        earlier = sorted(folder.glob(f"{UNREADABLE}*"))
        data = [path for path in folder.iterdir() if path.name not in KEPT and path not in earlier]
        if not data:
            return None
        aside = folder / f"{UNREADABLE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        try:
            aside.mkdir(mode=0o700)
            for path in data:
                path.rename(aside / path.name)
        except OSError:  # the next start fails in the same way, and its log says why
            return None
        for old in [*earlier, aside][:-SET_ASIDE]:
            shutil.rmtree(old, ignore_errors=True)
        return f"its data were moved to {aside} and it starts empty; runs are in Postgres"

    def url(self, database: int = 0) -> str:
        """A kombu URL, password included."""
        return f"redis+socket://:{self._password}@{self._socket}?virtual_host={database}"

    def tidy(self) -> None:
        """Clear away the folder of the socket where it is a temporary one."""
        folders.tidy(self._socket.parent)

    @property
    def address(self) -> str:
        """The socket, without a password."""
        return str(self._socket)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
