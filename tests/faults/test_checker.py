"""The checker finds nothing where nothing is wrong, and each invariant can be seen broken."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import sessionmaker

from tracker.database.db import Sessions, transaction
from tracker.domain import Run
from tracker.store import endings, runs

from . import moves
from .audit import NotAudited, audited
from .checker import AS_WITHOUT_FAULTS, broken, numbers, violations
from .invariants import ALWAYS, AT_REST, PUBLISHED

RUN = "(SELECT id FROM headbook.run WHERE state = '{}')"
DONE, STOPPED = RUN.format("succeeded"), RUN.format("cancelled")
MODEL = "(SELECT min(id) FROM headbook.component)"
WRITTEN = f"INSERT INTO faults.written (relation, run_id, part, epoch) VALUES ('part_score', {DONE}"

# By invariant: what breaks it, one statement each.
BREAKING = {
    "a part has a lease and a worker exactly while it runs": [
        f"UPDATE headbook.part SET lease_expires_at = now() WHERE run_id = {DONE}",
        f"UPDATE headbook.part SET worker = 'w9' WHERE run_id = {DONE}",
    ],
    "runs and parts have an end exactly when they have ended": [
        f"UPDATE headbook.run SET finished_at = NULL WHERE id = {DONE}",
        f"UPDATE headbook.part SET finished_at = NULL WHERE run_id = {STOPPED}",
    ],
    "epochs never fall and rise at each claim, release and reap": [
        f"UPDATE headbook.part SET epoch = epoch - 1 WHERE run_id = {DONE}",
        f"UPDATE headbook.run_event SET epoch = 0 WHERE run_id = {DONE} AND event = 'running'",
        "UPDATE headbook.run_event SET epoch = epoch - 1 WHERE part = 0 AND event = 'succeeded'",
        "UPDATE headbook.run_event SET epoch = epoch - 1 WHERE part = 0 AND event = 'queued'",
        "UPDATE headbook.run_event SET epoch = NULL WHERE part = 0 AND event = 'running'",
    ],
    "runs and parts end once": [
        f"INSERT INTO headbook.run_event (run_id, event) VALUES ({DONE}, 'failed')",
        f"INSERT INTO headbook.run_event (run_id, event) VALUES ({DONE}, 'succeeded')",
        "INSERT INTO headbook.run_event (run_id, part, event, epoch)"
        f" VALUES ({DONE}, 0, 'succeeded', 9)",
        f"DELETE FROM headbook.run_event WHERE run_id = {STOPPED} AND event = 'cancelled'",
    ],
    "a run that has ended has no part that has not": [
        f"UPDATE headbook.part SET state = 'queued' WHERE run_id = {STOPPED}",
    ],
    "a run has succeeded with exactly its parts and one to finish, each of them once": [
        f"UPDATE headbook.part SET number = 7 WHERE run_id = {DONE} AND number = 1",
        f"UPDATE headbook.part SET kind = 'prompts' WHERE run_id = {DONE} AND kind = 'finish'",
        f"UPDATE headbook.part SET state = 'failed' WHERE run_id = {DONE} AND number = 0",
        f"UPDATE headbook.part SET stop = stop - 1 WHERE run_id = {DONE} AND number = 0",
        f"DELETE FROM headbook.part WHERE run_id = {DONE} AND number = 0",
    ],
    "scores and tensors are those of succeeded runs, a value per prompt": [
        "UPDATE headbook.score SET values = values || 1::real",
        f"UPDATE headbook.score SET run_id = {STOPPED}",
        f"UPDATE headbook.tensor SET run_id = {STOPPED}",
    ],
    "nothing that parts have measured is left over when a run has succeeded": [
        "INSERT INTO headbook.part_score"
        f" VALUES ({DONE}, 0, {MODEL}, 'length', '', '', 0, '{{1, 2}}', '{{}}')",
        "INSERT INTO headbook.part_tensor"
        f" VALUES ({DONE}, 0, 'lengths', '{{prompt}}', '{{}}', 'float32', '{{1}}', 1, '')",
    ],
    "what is committed for a part is committed by who holds it, with the part's end": [
        f"{WRITTEN}, 0, 1)",
        f"{WRITTEN}, 0, NULL)",
        "UPDATE faults.written SET epoch = epoch - 1",
        "UPDATE faults.written SET writer = 'another'",
        f"{WRITTEN.replace('part_score', 'part_tensor_chunk')}, 0, 0)",
        "UPDATE faults.move SET txid = '1' WHERE new_state = 'succeeded'",
    ],
    "what a part has measured is committed once": [f"{WRITTEN}, 0, 1)"],
    "nothing happens to a run after its end": [
        f"{WRITTEN.replace(DONE, STOPPED)}, 0, 1)",
        f"INSERT INTO faults.move (run_id, part, new_state) VALUES ({STOPPED}, 0, 'running')",
        f"INSERT INTO faults.move (run_id, new_state) VALUES ({STOPPED}, 'running')",
    ],
    "a click makes one run, and so does a fingerprint": [
        "UPDATE headbook.run SET nonce = 'click'",
        "UPDATE headbook.run SET fingerprint = 'same', state = 'succeeded'",
    ],
    "only runs that have ended are published": [
        f"UPDATE headbook.run SET state = 'running' WHERE id = {DONE}",
    ],
    "every run ends": [f"UPDATE headbook.run SET state = 'finishing' WHERE id = {DONE}"],
    "every run that has ended is published": [
        f"UPDATE headbook.publication SET state = 'pending' WHERE run_id = {DONE}",
        f"DELETE FROM headbook.publication WHERE run_id = {DONE}",
    ],
}


@pytest.fixture
def done(sessions: Sessions) -> Iterator[Run]:
    """A run that has succeeded after a reap and a release, beside one that was cancelled."""
    with audited(sessions):
        of = moves.facts(sessions)
        run = moves.queue(sessions, of=of)
        lost = moves.claim(sessions, run.id, lease=0)
        with transaction(sessions) as session:
            assert endings.reap(session, run.id) == 1
        with transaction(sessions) as session:
            endings.release(session, moves.claim(sessions, run.id), reason="stopped")
        assert lost.number == 0
        moves.succeed(sessions, run)
        other = moves.queue(sessions, of=of)
        with transaction(sessions) as session:
            runs.cancel(session, other.id)
        moves.publish(sessions, other.id)
        yield run


@pytest.fixture
def lawless(sessions: Sessions, done: Run) -> Iterator[Sessions]:
    """Sessions whose changes are undone, in a database without triggers and rules."""
    with sessions.kw["bind"].connect() as connection:
        whole = connection.begin()
        for table, name in connection.execute(
            text(
                "SELECT conrelid::regclass, conname FROM pg_constraint"
                " WHERE connamespace = 'headbook'::regnamespace AND contype = 'c'"
            )
        ).all():
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        connection.execute(text("ALTER TABLE headbook.run DROP CONSTRAINT run_nonce_key"))
        connection.execute(text("DROP INDEX headbook.run_fingerprint_once"))
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield sessionmaker(connection, join_transaction_mode="create_savepoint")
        whole.rollback()


def test_nothing_is_found_where_nothing_is_wrong(sessions: Sessions, done: Run) -> None:
    references = {done.fingerprint: numbers(sessions, done.id)}
    assert violations(sessions, references=references) == []


def test_every_invariant_is_broken_once_below() -> None:
    assert BREAKING.keys() == {each.name for each in (*ALWAYS, *AT_REST, *PUBLISHED)}


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name, changes in BREAKING.items() for change in changes]
)
def test_what_breaks_an_invariant_is_found(lawless: Sessions, name: str, change: str) -> None:
    assert violations(lawless) == []
    with lawless.begin() as session:
        assert session.execute(text(change)).rowcount > 0  # type: ignore[attr-defined]
    found = broken(lawless)
    assert name in {each.invariant for each in found}
    assert all(str(each.run_id) in str(each) for each in found)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE headbook.score SET values[2] = values[2] + 1e-6",
        "UPDATE headbook.score SET ci_low = ci_low - 1e-12",
        "UPDATE headbook.score SET metric = 'width'",
        "DELETE FROM headbook.score",
        "DELETE FROM headbook.tensor",
        "UPDATE headbook.tensor SET sha256 = repeat('1', 64)",
    ],
)
def test_other_numbers_than_those_without_faults_are_found(
    lawless: Sessions, done: Run, change: str
) -> None:
    references = {done.fingerprint: numbers(lawless, done.id)}
    with lawless.begin() as session:
        session.execute(text(change))
    found = broken(lawless, references=references)
    assert {each.invariant for each in found} == {AS_WITHOUT_FAULTS}


def test_what_still_goes_on_is_lost_only_when_all_should_have_ended(
    sessions: Sessions, done: Run
) -> None:
    with transaction(sessions) as session:
        model = session.execute(text("SELECT model_id, distribution_id FROM headbook.run")).first()
    assert model is not None
    of: dict[str, Any] = dict(model._mapping) | {"n_prompts": moves.PROMPTS}
    live = moves.queue(sessions, of=of)
    assert violations(sessions, live_is_lost=False) == []
    (said,) = violations(sessions)
    assert said == (
        f"run {live.id}: it is still queued, its parts: 0 queued, 1 queued; no reason"
        " [every run ends]"
    )


def test_without_an_audit_the_checker_says_what_is_missing(sessions: Sessions) -> None:
    with pytest.raises(NotAudited, match=r"audit\.install"):
        violations(sessions)
