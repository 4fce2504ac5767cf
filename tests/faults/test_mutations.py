"""Every part of the design is needed: without it, the checker finds what goes wrong."""

from collections.abc import Callable, Iterator

import pytest

from tracker.database.db import Sessions

from . import scenarios
from .audit import audited
from .mutations import MUTATIONS, Mutation

Record = Callable[..., None]


@pytest.fixture(autouse=True)
def _audit(sessions: Sessions) -> Iterator[None]:
    with audited(sessions):
        yield


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_product_is_without_harm_where_its_mutation_is_caught(
    sessions: Sessions, mutation: Mutation, record: Record
) -> None:
    assert mutation.scenario(sessions) == []
    with mutation.mutated(sessions):
        found = mutation.scenario(sessions)
    assert any(f"[{mutation.caught_by}]" in each for each in found), found
    record(36, mutation.name, f"caught: {mutation.caught_by}", mutations_caught=1)


def test_two_workers_that_end_the_last_two_parts_leave_nothing_to_find(sessions: Sessions) -> None:
    assert scenarios.last_two_parts_end_at_once(sessions) == []
