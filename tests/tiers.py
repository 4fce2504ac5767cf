"""The tiers of tests, by what a test starts: `make test-fast` runs those that start nothing.

A test that uses a fixture of `STARTED_BY` has its mark from here, so nobody has to think of it. One
that starts a server by itself carries the mark in its own file, and fails without it. What tests of
a module share so is started once: they go to one worker of pytest-xdist.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.nodeid import NodeId

STARTED_BY = {  # fixture: the mark of all tests that use it, through other fixtures too
    "server_urls": "servers",
    "mlflow_uri": "servers",
    "postgres": "servers",
    "valkey": "servers",
    "cluster": "servers",
    "world": "servers",
    "start": "stack",
    "stack": "stack",
    "browser": "browser",
}
# Of the families of models, those that stand for all others in the fast tier.
FEW = frozenset({"gemma2", "gpt2", "llama", "mcq-small"})
LEFT_OUT = frozenset({*STARTED_BY.values(), "slow"})  # of the fast tier
SERVERS = re.compile(  # in a command
    r"(^|/)(postgres|valkey-server|chromium) |playwright/driver|tracker\.access\.mlflow_server"
    r"|(tracker\.cli|/headbook) (up|demo)\b|control\.up\("
)


class Tiers:
    """A plugin of pytest that marks tests, and has those fail that lack a mark."""

    def __init__(self) -> None:
        self._unmarked: str | None = None  # the running test, where it may start no server
        sys.addaudithook(self._audit)

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in STARTED_BY:
                item.add_marker(STARTED_BY[fixture])
        if _left_out(item) and _shares(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
        case = getattr(item, "callspec", None)
        if case and case.params.get("family", "llama") not in FEW:
            item.add_marker("slow")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Put groups into the names of tests for pytest-xdist, which pytest 9.2 keeps it from."""
        if not getattr(config.option, "loadgroup", False):
            return
        for item in items:
            mark = item.get_closest_marker("xdist_group")
            if mark and not item.nodeid.endswith(f"@{mark.args[0]}"):
                item._id = NodeId.parse(f"{item.nodeid}@{mark.args[0]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._unmarked = None if _left_out(item) else item.nodeid
        try:
            return (yield)
        finally:
            self._unmarked = None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._unmarked and event == "subprocess.Popen":
            words = arguments[1]
            command = words if isinstance(words, str) else " ".join(map(str, words))
            if found := SERVERS.search(command):
                raise AssertionError(
                    f"{self._unmarked} starts a server ({found[0].strip()!r}): mark it with one of"
                    f" {', '.join(sorted(LEFT_OUT))}, or use a fixture of tests/tiers.py."
                )


def _left_out(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in LEFT_OUT)


def _shares(item: pytest.Item) -> bool:
    """Whether a fixture of its lasts as long as its module."""
    known = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(found[-1].scope == "module" for found in known.values())
