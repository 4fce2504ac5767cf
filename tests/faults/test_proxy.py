"""Proxies break connections as they are told, and only then."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from .proxy import SERVER_ERROR, Mode, Network, Proxy


class Echo(socketserver.StreamRequestHandler):
    """Gives back what it is sent."""

    def handle(self) -> None:
        while piece := self.request.recv(1000):
            self.request.sendall(piece)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is cut off is what the tests are about."""


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


@pytest.fixture
def proxy(network: Network) -> Iterator[Proxy]:
    """In front of a server that echoes."""
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        made = Proxy(network, ("127.0.0.1", server.server_address[1]))
        yield made
        made.close()
        server.shutdown()
        thread.join()


Connect = Callable[[], socket.socket]


@pytest.fixture
def connect(proxy: Proxy) -> Iterator[Connect]:
    made = []

    def connect() -> socket.socket:
        made.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=2))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def said(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(1000)


def test_everything_passes(connect: Connect) -> None:
    assert said(connect(), b"hello") == b"hello"


def test_nobody_listens_while_it_refuses_and_the_same_port_is_there_afterwards(
    proxy: Proxy, connect: Connect
) -> None:
    before = connect()
    assert said(before, b"hello") == b"hello"
    with proxy.broken(Mode.REFUSE):
        with pytest.raises(ConnectionResetError):
            said(before, b"hello")
        with pytest.raises(ConnectionRefusedError):
            connect()
    assert said(connect(), b"hello") == b"hello"


def test_what_a_black_hole_has_held_flows_on_afterwards(proxy: Proxy, connect: Connect) -> None:
    before = connect()
    assert said(before, b"hello") == b"hello"
    with proxy.broken(Mode.BLACKHOLE):
        later = connect()
        for each in (before, later):
            each.settimeout(0.1)
            with pytest.raises(TimeoutError):
                said(each, b"anybody?")
    for each in (before, later):
        each.settimeout(2)
        assert each.recv(1000) == b"anybody?"


def test_connections_are_reset(proxy: Proxy, connect: Connect) -> None:
    before = connect()
    assert said(before, b"hello") == b"hello"
    with proxy.broken(Mode.RESET):
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            said(before, b"hello")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            said(connect(), b"hello")  # it may be reset before it is there
    after = connect()
    assert said(after, b"hello") == b"hello"
    proxy.reset_once()
    with pytest.raises(ConnectionResetError):
        said(after, b"hello")
    assert said(connect(), b"hello") == b"hello"


def test_pieces_are_late(proxy: Proxy, connect: Connect) -> None:
    proxy.delay = 0.1
    begun = time.monotonic()
    assert said(connect(), b"hello") == b"hello"
    assert time.monotonic() - begun >= 0.2
    proxy.heal()
    assert said(connect(), b"hello") == b"hello"


def test_an_answer_is_cut_off_after_some_bytes(proxy: Proxy, connect: Connect) -> None:
    proxy.cut_after = 3
    cut = connect()
    assert said(cut, b"hello") == b"hel"
    with pytest.raises(ConnectionResetError):
        said(cut, b"hello")


def test_another_answer_is_given_in_place_of_the_servers(proxy: Proxy, connect: Connect) -> None:
    proxy.answer = SERVER_ERROR
    assert said(connect(), b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 500 ")


def test_the_answer_to_a_commit_is_lost_and_its_row_is_not(
    network: Network, server_urls: dict[str, str], database_url: str
) -> None:
    url = make_url(database_url)
    there = Path(str(url.query["host"]), f".s.PGSQL.{url.query['port']}")
    proxy = Proxy(network, there)
    asked = f"host=127.0.0.1 port={proxy.port} user={url.username} password={url.password}"
    asked += f" dbname={url.database} sslmode=disable"
    with psycopg.connect(asked) as connection:
        connection.execute("CREATE TABLE public.kept (word text)")
    proxy.lose_commits(1, after=b"INSERT")
    with psycopg.connect(asked) as connection:
        connection.execute("SELECT 1")
        connection.commit()
        connection.execute("INSERT INTO public.kept VALUES ('kept')")
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    with psycopg.connect(asked) as connection:
        assert connection.execute("SELECT word FROM public.kept").fetchall() == [("kept",)]
        connection.execute("DROP TABLE public.kept")
    assert proxy.lost_commits == 1
    proxy.close()
