"""HTTP as it stands on the wire: requests that no well-behaved client would send."""

import os
import socket
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request; headers that are None are left out."""

    target: str = "/"
    method: str = "GET"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    again: tuple[tuple[str, str], ...] = ()  # headers that stand there a second time
    body: str = ""
    version: str = "1.1"


@dataclass(frozen=True)
class Answer:
    status: int
    head: str
    body: str

    def header(self, name: str) -> str | None:
        """The first of that name."""
        found = (line.partition(":") for line in self.head.splitlines()[1:])
        return next((value.strip() for key, _, value in found if key.lower() == name), None)


def ask(port: int, asked: Ask) -> Answer:
    """What a server of this machine answers, until it closes the connection or has shaken hands."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(_written(port, asked))
        said = b"".join(_received(connection))
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode("latin-1")
    status = lines.partition(" ")[2][:3]
    return Answer(int(status) if status else 0, lines, body.decode("latin-1"))


def handshake(target: str, **headers: str | None) -> Ask:
    """The beginning of a WebSocket."""
    key = b64encode(os.urandom(16)).decode()
    wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    return Ask(target=target, headers={**wanted, "Sec-WebSocket-Key": key, **headers})


def _written(port: int, asked: Ask) -> bytes:
    own = {"Host": f"127.0.0.1:{port}", "Connection": "close"}
    if asked.body:
        own |= {"Content-Length": str(len(asked.body)), "Content-Type": "application/json"}
    headers = [(k, v) for k, v in (own | dict(asked.headers)).items() if v is not None]
    lines = [f"{asked.method} {asked.target} HTTP/{asked.version}"]
    lines += [f"{key}: {value}" for key, value in (*headers, *asked.again)]
    return ("\r\n".join(lines) + "\r\n\r\n" + asked.body).encode("latin-1")


def _received(connection: socket.socket) -> Iterator[bytes]:
    so_far = b""
    while piece := connection.recv(65536):
        so_far += piece
        yield piece
        if so_far.startswith(b"HTTP/1.1 101"):
            return
