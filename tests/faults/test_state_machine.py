"""The queue does what its model in plain Python does, whatever is done to it in whatever order."""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import permutations
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from tracker.database.db import Sessions, transaction
from tracker.domain import TERMINAL, PartClaim
from tracker.store import runs as run_store
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.store.publications import HoldLost
from tracker.tables import WorkerRow

from . import moves, queue_moves, scenarios
from .audit import audited
from .checker import Numbers, References, numbers, violations
from .conftest import Scale
from .interleaving import started
from .queue_model import MEMORY, ModelRun, Move

WORKERS = st.sampled_from([*MEMORY])
UNDER_A_CLAIM = ("heartbeat", "commit", "fail", "release", "retry", "too_small", "expire")
OF_A_RUN = ("cancel", "reap", "claim")
EXPIRE = "UPDATE headbook.part SET lease_expires_at = '2000-01-01' WHERE state = 'running'"
REFUSALS = (LeaseLost, CancelSeen, HoldLost)
FORGET = "TRUNCATE headbook.run, faults.move, faults.written CASCADE"


class Queue(RuleBasedStateMachine):
    """Some runs, the workers that claim their parts, and the same in the model."""

    runs = Bundle("runs")
    claims = Bundle("claims")  # those that were lost as well: zombies use them
    holds = Bundle("holds")  # of publications, by run; lost ones too

    def __init__(self, sessions: Sessions, like: dict[str, Any], found: Numbers) -> None:
        super().__init__()
        self.sessions, self.like, self.found = sessions, like, found
        self.references: References = {}
        self.model: dict[UUID, ModelRun] = {}
        self.pool = ThreadPoolExecutor(1)
        self.differs = False

    @initialize(target=runs)
    def first_run(self) -> Any:
        return self.queue(2)

    @rule(target=runs, cut=st.sampled_from([1, 2, 4]))
    def queue(self, cut: int) -> UUID:
        run = moves.queue(self.sessions, of=self.like, cut=cut)
        self.model[run.id] = ModelRun(run.n_parts)
        self.references = {**self.references, run.fingerprint: self.found}
        return run.id

    @rule(target=claims, run=runs, worker=WORKERS)
    def claim(self, run: UUID, worker: str) -> Any:
        return self._claims(Move("claim", run, worker=worker))

    @rule(claim=claims, kind=st.sampled_from(UNDER_A_CLAIM), worker=WORKERS)
    def under_a_claim(self, claim: PartClaim, kind: str, worker: str) -> None:
        self._do(Move(kind, claim.run_id, claim, worker=worker))

    @rule(claim=claims)
    def cancel_is_seen(self, claim: PartClaim) -> None:
        if self.model[claim.run_id].asked_to_stop:
            self._do(Move("cancelled", claim.run_id, claim))

    @rule(run=runs, kind=st.sampled_from(["cancel", "reap"]))
    def of_a_run(self, run: UUID, kind: str) -> None:
        self._do(Move(kind, run))

    @rule(target=holds, run=runs)
    def publish(self, run: UUID) -> Any:
        return self._publishes(Move("take", run))

    @rule(target=holds, of=holds, kind=st.sampled_from(["renew", "published", "not_published"]))
    def under_a_hold(self, of: tuple[UUID, datetime], kind: str) -> Any:
        return self._publishes(Move(kind, of[0], hold=of[1]))

    @rule(run=runs)
    def reopen(self, run: UUID) -> None:
        self._do(Move("reopen", run))

    @rule()
    def ring(self) -> None:
        """Only for runs of which a worker can claim a part."""
        with transaction(self.sessions) as session:
            rung = run_store.take_due(session)
        for run in [self.model[run_id] for run_id in rung]:
            assert run.state not in TERMINAL
            assert any(part.state == "queued" for part in run.parts.values())

    @rule(
        target=claims,
        one=st.tuples(claims, st.sampled_from(UNDER_A_CLAIM)),
        other=st.tuples(claims, st.sampled_from((*UNDER_A_CLAIM, *OF_A_RUN))),
        turned=st.booleans(),
    )
    def at_once(self, one: Any, other: Any, turned: bool) -> Any:
        """Two transactions, the second within the first: as if one had come after the other."""
        pair = [Move(kind, claim.run_id, claim, worker="w4") for claim, kind in (one, other)]
        return self._claims(*(reversed(pair) if turned else pair))

    def _publishes(self, move: Move) -> Any:
        (hold,) = self._do(move)
        if not isinstance(hold, datetime):
            return multiple()
        self.model[move.run_id].hold = hold
        return move.run_id, hold

    def _claims(self, *made: Move) -> Any:
        return multiple(*(each for each in self._do(*made) if isinstance(each, PartClaim)))

    def _do(self, *made: Move) -> list[object]:
        """Make moves at once, in the tables and in the model; the answers."""
        answers = self._together(*made) if made[1:] else [self._real(*made)]
        with transaction(self.sessions) as session:
            seen = {each.run_id: queue_moves.seen(session, each.run_id) for each in made}
        orders = [self._modelled(made, order) for order in permutations(range(len(made)))]
        for said, models in orders:
            is_so = {run_id: run.seen() for run_id, run in models.items()} == seen
            if is_so and said == [_plain(each) for each in answers]:
                self.model |= models
                return answers
        self.differs = True
        raise AssertionError(f"{made} gave {answers} and {seen}, the model says {orders}")

    def _modelled(
        self, made: Sequence[Move], order: Sequence[int]
    ) -> tuple[list[object], dict[UUID, ModelRun]]:
        """What the model answers to moves that come in that order, and what becomes of it."""
        models = {each.run_id: copy.deepcopy(self.model[each.run_id]) for each in made}
        said = {place: models[made[place].run_id].do(made[place]) for place in order}
        return [said[place] for place in range(len(made))], models

    def _real(self, move: Move) -> object:
        try:
            with transaction(self.sessions) as session:
                return queue_moves.do(session, move)
        except REFUSALS as raised:
            return type(raised).__name__

    def _together(self, outer: Move, inner: Move) -> list[object]:
        """The second within the transaction of the first, unless that one is refused."""
        try:
            with transaction(self.sessions) as session:
                answer = queue_moves.do(session, outer)
                second = started(self.pool, self.sessions, lambda: self._real(inner))
        except REFUSALS as raised:
            return [type(raised).__name__, self._real(inner)]
        return [answer, second.result(30)]

    def teardown(self) -> None:
        """Workers that are not heard of are lost; then all ends, and nothing is wrong."""
        self.pool.shutdown()
        try:
            if not self.differs:
                self._end()
        finally:
            with transaction(self.sessions) as session:
                session.execute(text(FORGET))

    def _end(self) -> None:
        with transaction(self.sessions) as session:
            session.execute(text(EXPIRE))
        scenarios.go_on(self.sessions)
        references = self.references
        found = violations(self.sessions, references=references, unpublished_is_lost=False)
        assert found == []


def _plain(answer: object) -> object:
    if isinstance(answer, PartClaim):
        return answer.number, answer.epoch
    return True if isinstance(answer, datetime) else answer


@pytest.fixture
def audit(sessions: Sessions) -> Iterator[None]:
    with audited(sessions):
        yield


def test_the_queue_does_what_its_model_does(sessions: Sessions, audit: None, scale: Scale) -> None:
    like = moves.facts(sessions)
    first = moves.queue(sessions, of=like)
    moves.succeed(sessions, first)
    with transaction(sessions) as session:
        for name, memory in MEMORY.items():
            session.add(WorkerRow(name=name, host="h", pid=1, device="cpu", memory=memory))
    found = numbers(sessions, first.id)
    examples = 300 if scale.long else 24
    run_state_machine_as_test(
        cast(Any, lambda: Queue(sessions, like, found)),
        settings=settings(max_examples=examples, stateful_step_count=40, deadline=None),
    )
