"""Postgres and Valkey for the whole test run, started when a test first asks for them.

The process that begins the tests holds `SharedServers`: a process that listens on a socket and
imports nothing until a test worker connects to it. Then it starts both servers and tells their
addresses. It stops them as soon as its stdin is closed, however the first process ends.
"""

import json
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SOCKET = "servers.sock"
ROOT = Path(__file__).parents[1]


class SharedServers:
    """The listening process, which is a child of the one that begins the tests."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headbook-tests-"))
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.folder / SOCKET))
            listening.listen()
            number = listening.fileno()
            self.process = subprocess.Popen(
                (sys.executable, "-m", "tests.shared_servers", str(self.folder), str(number)),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                pass_fds=(number,),
                start_new_session=True,  # Ctrl-C ends the tests first
            )

    def close(self) -> None:
        """Stop what was started, and remove its files."""
        self.process.communicate()
        shutil.rmtree(self.folder)


def urls(folder: Path) -> dict[str, str]:
    """The addresses of `postgres`, as its superuser, and `valkey`; starts them if need be."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(folder / SOCKET))
        with asking.makefile() as answer:
            said = answer.read()
    assert said, "Postgres or Valkey did not start; the reason is in this run's stderr."
    found: dict[str, str] = json.loads(said)
    return found


def serve(folder: Path, listening: socket.socket) -> None:
    """Answer every request with the addresses, until stdin is closed."""
    if _asked(listening):
        from tracker.home.home import Home
        from tracker.supervisor import postgres_place
        from tracker.supervisor.postgres import EmbeddedPostgres
        from tracker.supervisor.valkey import EmbeddedValkey

        home = Home(folder)
        postgres = EmbeddedPostgres(home, settings={"fsync": "off"})
        valkey = EmbeddedValkey(home)
        try:
            addresses = {"postgres": postgres.start(), "valkey": valkey.start()}
            while _asked(listening):
                client, _ = listening.accept()
                with client:
                    client.sendall(json.dumps(addresses).encode())
        finally:
            valkey.stop()
            postgres.stop()
            postgres_place.remove(home)


def _asked(listening: socket.socket) -> bool:
    """Whether somebody wants the addresses; False once stdin is closed."""
    ready, _, _ = select.select((listening, sys.stdin), (), ())
    return sys.stdin not in ready


if __name__ == "__main__":
    serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
