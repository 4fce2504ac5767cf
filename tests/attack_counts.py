"""Counts the attacks that were tried, and those that were held off, by row of the fault matrix.

A test that is an attack says so: `@pytest.mark.attack(31, "statements of a reader")`; each case of
a parametrised test is one attack. Where HEADBOOK_TEST_FIGURES names a folder, the counts are
written there for docs/reliability.md.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import figures

_MARK = "attack"


class Attacks:
    """A plugin of pytest. With pytest-xdist the first process counts: all reports reach it."""

    def __init__(self) -> None:
        self.tried: Counter[tuple[int, str]] = Counter()
        self.held: Counter[tuple[int, str]] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for mark in item.iter_markers(_MARK):
            row, kind = mark.args
            item.user_properties.append((_MARK, f"{row} {kind}"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or report.skipped:
            return
        for name, value in report.user_properties:
            if name == _MARK:
                row, _, kind = str(value).partition(" ")
                self.tried[int(row), kind] += 1
                self.held[int(row), kind] += report.passed

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        folder = os.environ.get("HEADBOOK_TEST_FIGURES")
        if not folder or hasattr(session.config, "workerinput"):
            return
        for (row, kind), tried in sorted(self.tried.items()):
            held = self.held[row, kind]
            said = f"{tried} cases, {'all' if held == tried else held} held off"
            figures.add(Path(folder), {"row": row, "fault": kind, "figure": said, "attacks": tried})
