"""The servers of all test workers start when one asks, once, and end with the first process."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psutil
import pytest
import shared_servers
from plain_connection import connect
from shared_servers import SharedServers


def below(servers: SharedServers) -> list[psutil.Process]:
    return psutil.Process(servers.process.pid).children(recursive=True)


@pytest.fixture
def shared() -> Iterator[SharedServers]:
    with closing(SharedServers()) as made:
        yield made


def test_nothing_starts_before_a_test_asks(shared: SharedServers) -> None:
    assert os.listdir(shared.folder) == [shared_servers.SOCKET]
    assert below(shared) == []


@pytest.mark.servers
def test_all_who_ask_are_told_of_the_same_servers_which_end_with_the_tests() -> None:
    with closing(SharedServers()) as shared:
        with ThreadPoolExecutor(3) as pool:
            first, *others = pool.map(shared_servers.urls, [shared.folder] * 3)
        assert others == [first, first]
        with connect(first["postgres"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        started = below(shared)
        assert {"postgres", "valkey-server"} <= {process.name() for process in started}
    assert not any(process.is_running() for process in started)
    assert not shared.folder.exists()
