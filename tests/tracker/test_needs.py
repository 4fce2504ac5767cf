"""Runs that need others are queued with them, all or none."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import func, select
from stored_runs import detail

from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.spec import MOST_SEED
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, Priority, RunRequest, RunState
from tracker.home.home import Home
from tracker.queueing.submission import InvalidRequest, submit_all
from tracker.store import runs, studies
from tracker.tables import DistributionRow, RunInputRow, RunRow

from . import needing
from .conftest import Submit


@pytest.fixture(autouse=True)
def _needing() -> Iterator[None]:
    with needing.registered():
        yield


def count(sessions: Sessions, table: type = RunRow) -> int:
    with transaction(sessions) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_what_a_run_needs_is_queued_with_it_and_joins_its_study(
    submit: Submit, sessions: Sessions
) -> None:
    made = submit(analysis="shares", study="scan")
    assert made.new
    assert {name: run.analysis for name, run in made.inputs.items()} == {
        "same": "sizes",
        "others": "sizes",
    }
    assert made.inputs["same"].distribution_id == made.run.distribution_id
    assert made.inputs["others"].distribution_id != made.run.distribution_id
    assert all(run.seed == made.run.seed for run in made.inputs.values())
    for run in (made.run, *made.inputs.values()):
        assert list(detail(sessions, run.id).studies.values()) == ["scan"]
    seen = detail(sessions, made.run.id)
    assert {(link.name, link.id, link.state.value) for link in seen.inputs} == {
        (name, run.id, "queued") for name, run in made.inputs.items()
    }
    (link,) = detail(sessions, made.inputs["same"].id).dependants
    assert (link.name, link.id, link.analysis) == ("same", made.run.id, "shares")


def test_two_runs_that_need_the_same_share_it(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    second = submit(analysis="shares", params={"scale": 2, "batch_size": 2})
    assert first.run.id != second.run.id
    assert {name: run.id for name, run in first.inputs.items()} == {
        name: run.id for name, run in second.inputs.items()
    }
    assert count(sessions) == 4
    again = submit(analysis="shares")
    assert (again.new, again.run.id) == (False, first.run.id)
    assert again.inputs == first.inputs


def test_a_chain_is_queued_whole_and_each_link_once(submit: Submit, sessions: Sessions) -> None:
    made = submit(analysis="again", study="chain")
    assert (count(sessions), count(sessions, RunInputRow)) == (4, 3)
    (needed,) = made.inputs.values()
    assert {link.name for link in detail(sessions, needed.id).inputs} == {"same", "others"}
    with transaction(sessions) as session:
        every = session.scalars(select(RunRow.id)).all()
    assert all(detail(sessions, each).studies for each in every)


def test_the_fingerprint_covers_what_a_run_needs(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(analysis="shares").run
    monkeypatch.setattr(
        needing, "others", lambda spec: spec.model_copy(update={"seed": spec.seed + 2})
    )
    second = submit(analysis="shares").run
    assert first.params == second.params
    assert first.fingerprint != second.fingerprint


def test_a_forced_run_is_new_and_reuses_what_it_needs(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    second = submit(analysis="shares", force=True)
    assert second.new
    assert second.run.id != first.run.id
    assert second.inputs == first.inputs
    assert count(sessions) == 4


def test_what_failed_or_was_cancelled_is_queued_anew(submit: Submit, sessions: Sessions) -> None:
    first = submit(analysis="shares")
    with transaction(sessions) as session:
        runs.cancel(session, first.inputs["others"].id)
    assert detail(sessions, first.run.id).line.state is RunState.CANCELLED
    second = submit(analysis="shares")
    assert second.new
    assert second.inputs["same"].id == first.inputs["same"].id
    assert second.inputs["others"].id != first.inputs["others"].id


def test_what_a_run_needs_is_as_urgent_as_itself(submit: Submit, sessions: Sessions) -> None:
    made = submit(analysis="shares", priority=Priority.LATER)
    urgent = submit(analysis="again", priority=Priority.NOW)
    with transaction(sessions) as session:
        ranks = dict(session.execute(select(RunRow.id, RunRow.priority)).all())
    assert ranks == dict.fromkeys(
        (made.run.id, urgent.run.id, *(run.id for run in made.inputs.values())), 0
    )
    submit(analysis="shares", params={"scale": 2}, priority=Priority.LATER)
    with transaction(sessions) as session:
        assert runs.run(session, made.run.id)
        assert session.get_one(RunRow, made.inputs["same"].id).priority == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"analysis": "shares", "params": {"rank": 50}}, "^rank: 50 is more than the 8 dimensions"),
        (
            {"analysis": "again", "distribution": DistributionSpec(seed=MOST_SEED, size=8)},
            r"It needs a run of 'shares' \('shares'\), which cannot be queued: The distribution "
            "cannot be made: seed",
        ),
        ({"analysis": "endless"}, "nested more than 8 levels deep.*'endless'"),
        ({"analysis": "shares", "seed": -1}, "seed: Input should be greater than or equal to 0"),
    ],
)
def test_what_no_run_or_need_could_do_is_refused_and_nothing_is_written(
    submit: Submit, sessions: Sessions, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        submit(study="mine", **change)
    assert count(sessions) == count(sessions, DistributionRow) == 0


def test_nothing_is_half_written_when_the_last_row_cannot_be(
    submit: Submit, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(studies, "add_to_study", breaks)
    with pytest.raises(ZeroDivisionError):
        submit(analysis="again", study="mine")
    assert count(sessions) == count(sessions, RunInputRow) == count(sessions, DistributionRow) == 0


def test_the_same_runs_asked_for_at_once_in_any_order_are_recorded_once(
    sessions: Sessions, home: Home, tiny: Model
) -> None:
    asked = [
        RunRequest(
            analysis="shares",
            model="tiny",
            recipe=DistributionSpec(size=4, seed=seed),
            parameters={"scale": scale},
            study="scan",
        )
        for seed in (0, 1)
        for scale in (1, 2, 3)
    ]

    def submit_some(number: int) -> list[UUID]:
        mine = random.Random(number).sample(asked, len(asked))
        found = submit_all(mine, created_by="ada", sessions=sessions, home=home)
        return [each.run.id for each in found]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(submit_some, range(6)))
    assert {frozenset(each) for each in found} == {frozenset(found[0])}
    assert count(sessions) == 6 + 3  # the others of the first seed are the same of the second
