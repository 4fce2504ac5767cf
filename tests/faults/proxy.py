"""TCP proxies on 127.0.0.1 whose connections break in the ways that networks break them."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"  # Postgres' CommandComplete of a COMMIT
SERVER_ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_KEPT = 1_000_000  # bytes a client has sent in one transaction, at the most, that are looked at

Target = Path | tuple[str, int]  # a unix socket, or host and port


class Mode(StrEnum):
    PASS = "pass"
    REFUSE = "refuse"  # nobody listens, and what was open is reset
    BLACKHOLE = "blackhole"  # accepted, never answered; what was held flows on when it is lifted
    RESET = "reset"  # what was open is reset, and so is each new connection


class Network:
    """The thread in which proxies run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    task: asyncio.Task[None] | None = None
    answered: int = 0  # bytes, since answers are cut
    said: bytearray = field(default_factory=bytearray)  # by the client in this transaction

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                with suppress(OSError):
                    where = writer.get_extra_info("socket")
                    where.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
        if self.task is not None:
            self.task.cancel()


class Proxy:
    """One address in front of one server. Set from any thread; what is set holds until changed."""

    def __init__(self, network: Network, target: Target) -> None:
        self.delay = 0.0  # seconds for each piece, both ways
        self.cut_after: int | None = None  # bytes that a connection is answered before it is reset
        self.answer: bytes | None = None  # given in place of the server's, such as SERVER_ERROR
        self.lost_commits = 0  # replies to COMMIT that were lost so far
        self._to_lose, self._after = 0, b""
        self._network, self._target = network, target
        self._connections: set[_Connection] = set()
        self._mode = Mode.PASS
        self._place = _bound(0)  # keeps the port while nobody listens
        self.port: int = self._place.getsockname()[1]
        self._flows = asyncio.Event()
        self._closed = False
        self._server: asyncio.Server | None = None
        network.run(self._set(Mode.PASS))

    @property
    def mode(self) -> Mode:
        return self._mode

    def set(self, mode: Mode) -> None:
        self._network.run(self._set(mode))

    @contextmanager
    def broken(self, mode: Mode) -> Iterator[None]:
        """Inside the block the proxy is in that mode."""
        self.set(mode)
        try:
            yield
        finally:
            self.set(Mode.PASS)

    def reset_once(self) -> None:
        """Reset what is open now; new connections pass."""
        self._network.run(self._reset())

    def lose_commits(self, count: int, *, after: bytes = b"") -> None:
        """Lose the replies to the next commits: the server has committed, the client is cut off.

        With `after`, those of transactions in which the client has sent these bytes.
        """
        self._to_lose, self._after = count, after

    def heal(self) -> None:
        """Pass everything again."""
        self.delay, self.cut_after, self.answer, self._to_lose = 0.0, None, None, 0
        self.set(Mode.PASS)

    def close(self) -> None:
        self._network.run(self._close())
        self._place.close()

    async def _set(self, mode: Mode) -> None:
        if self._closed:
            return
        self._mode = mode
        if mode in (Mode.REFUSE, Mode.RESET):
            await self._reset()
        if mode is Mode.BLACKHOLE:
            self._flows.clear()
        else:
            self._flows.set()
        if mode is Mode.REFUSE:
            await self._stop_listening()
        elif self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.port))

    async def _stop_listening(self) -> None:
        if self._server is not None:
            listening, self._server = self._server, None
            # Whoever was let in becomes a connection first: asyncio leaves it half made otherwise.
            for each in listening.sockets:
                asyncio.get_running_loop().remove_reader(each.fileno())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            listening.close()

    async def _reset(self) -> None:
        ended = [each.task for each in self._connections if each.task is not None]
        for each in list(self._connections):
            each.reset()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _close(self) -> None:
        self._closed = True
        await self._stop_listening()
        await self._reset()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(writer)
        if self._mode in (Mode.REFUSE, Mode.RESET):  # it came before nobody listened any more
            connection.reset()
            return
        self._connections.add(connection)
        connection.task = asyncio.get_running_loop().create_task(self._serve(connection, reader))

    async def _serve(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        ways: list[asyncio.Task[None]] = []
        try:
            await self._flows.wait()
            answers, connection.server = await _open(self._target)
            both = self._ask(connection, reader), self._reply(connection, answers)
            ways = [asyncio.ensure_future(each) for each in both]
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        except OSError:
            connection.task = None
            connection.reset()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._connections.discard(connection)
            connection.close()

    async def _ask(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        assert connection.server is not None
        while piece := await reader.read(65536):
            await self._pause()
            if self.answer is not None:
                await _write(connection.client, self.answer)
                return
            if self._to_lose and self._after:
                connection.said += piece
                del connection.said[:-_KEPT]
            await _write(connection.server, piece)

    async def _reply(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        tail = b""
        while piece := await reader.read(65536):
            await self._pause()
            if self._loses(connection, tail + piece):
                self.lost_commits += 1
                raise ConnectionResetError
            if self.cut_after is not None:
                left = self.cut_after - connection.answered
                connection.answered += len(piece)
                if len(piece) > left:
                    await _write(connection.client, piece[:left])
                    raise ConnectionResetError
            tail = piece[1 - len(COMMITTED) :]
            await _write(connection.client, piece)

    def _loses(self, connection: _Connection, seen: bytes) -> bool:
        if not self._to_lose or COMMITTED not in seen:
            return False
        wanted = self._after in connection.said
        connection.said.clear()
        self._to_lose -= wanted
        return wanted

    async def _pause(self) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flows.wait()


async def _open(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


async def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(piece)
    await writer.drain()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
