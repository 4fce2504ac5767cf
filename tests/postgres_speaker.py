"""A server that speaks as much of Postgres' protocol as a refusal takes, in any language."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ASKS_FOR_TLS = 80877103


@contextmanager
def refusing(sqlstate: str, sentence: str, *, tls: bytes = b"N") -> Iterator[int]:
    """The port of a server that answers every login with that; `tls` is what it says to TLS."""
    body = b"".join(
        kind + value.encode() + b"\0"
        for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", sqlstate), (b"M", sentence))
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answer = b"E" + struct.pack("!I", len(body) + 5) + body + b"\0"
        thread = threading.Thread(target=_serve, args=(server, answer, tls), daemon=True)
        thread.start()
        try:
            yield port
        finally:
            with suppress(OSError):  # wakes the thread up
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, answer: bytes, tls: bytes) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, suppress(OSError):
            if _asked(client) == _ASKS_FOR_TLS:
                client.sendall(tls)
                if tls == b"S" or not _asked(client):  # it hangs up where TLS should begin
                    continue
            client.sendall(answer)


def _asked(client: socket.socket) -> int:
    """The number that a message begins with, which is read to its end; 0 at the end of all."""
    head = client.recv(8, socket.MSG_WAITALL)
    if len(head) < 8:
        return 0
    size, number = struct.unpack("!II", head)
    if size > 8:
        client.recv(size - 8, socket.MSG_WAITALL)
    return int(number)
