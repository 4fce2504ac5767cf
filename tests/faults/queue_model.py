"""The queue in plain Python: what each move does to a run and its parts, and what it answers.

It has no database and no time: a lease runs out when it is told to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from tracker.domain import TERMINAL, PartClaim, PartState, RunState

TRIES = 3  # attempts, and crashes
MEMORY = {"w1": 1, "w2": 2, "w3": 3}  # bytes, of the workers of which that is known
_GIVEN = datetime.min.replace(tzinfo=UTC)  # until it is known which hold was given


class Move(NamedTuple):
    """Something that a worker, a reaper or a person does to a run, or under a claim."""

    kind: str
    run_id: UUID
    claim: PartClaim | None = None
    worker: str = ""
    hold: datetime | None = None  # of a publication; only its name matters


@dataclass
class Part:
    state: PartState = PartState.QUEUED
    epoch: int = 0
    worker: str | None = None
    expired: bool = False
    counted: bool = False  # was running when the last crash was counted

    def end(self, state: PartState) -> None:
        self.state, self.worker = state, None


@dataclass
class ModelRun:
    """A run: its state, its parts by number, and the one that finishes it once it is there."""

    n_parts: int
    parts: dict[int, Part] = field(default_factory=dict)
    state: RunState = RunState.QUEUED
    attempt: int = 1
    crashes: int = 0
    too_little: int = 0  # bytes of the largest worker that was too small for it
    asked_to_stop: bool = False
    published: bool = False
    hold: datetime | None = None  # of its publication; who was given it says so

    def __post_init__(self) -> None:
        self.parts = {number: Part() for number in range(self.n_parts)}

    def do(self, move: Move) -> object:
        """Change what the move changes; its answer, or the name of what it raises."""
        answer: object = getattr(self, f"_{move.kind}")(move)
        return answer

    def seen(self) -> tuple[object, ...]:
        """All that can be seen of it."""
        parts = [
            (number, each.state, each.epoch, each.worker) for number, each in self.parts.items()
        ]
        held = self.published, self.hold is not None
        return self.state, self.attempt, self.crashes, self.asked_to_stop, *held, parts

    def _in(self, state: PartState) -> Iterator[Part]:
        return (each for each in self.parts.values() if each.state is state)

    def _held(self, move: Move) -> Part | None:
        assert move.claim is not None
        part = self.parts[move.claim.number]
        held = part.state is PartState.RUNNING and part.epoch == move.claim.epoch
        return part if held else None

    def _claim(self, move: Move) -> tuple[int, int] | None:
        waiting = [n for n, each in self.parts.items() if each.state is PartState.QUEUED]
        if not waiting or self.state in TERMINAL or self.asked_to_stop:
            return None
        if self.state is not RunState.FINISHING and MEMORY.get(move.worker, 9) <= self.too_little:
            return None
        part = self.parts[min(waiting)]
        part.state, part.worker = PartState.RUNNING, move.worker
        part.expired = part.counted = False
        part.epoch += 1
        if self.state is RunState.QUEUED:
            self.state = RunState.RUNNING
        return min(waiting), part.epoch

    def _heartbeat(self, move: Move) -> object:
        part = self._held(move)
        if part is None:
            return "LeaseLost"
        part.expired = False
        return self.asked_to_stop

    def _commit(self, move: Move) -> str | None:
        part = self._held(move)
        if part is None:
            return "LeaseLost"
        if self.asked_to_stop:
            return "CancelSeen"
        part.end(PartState.SUCCEEDED)
        if self.state is RunState.FINISHING:
            self.state = RunState.SUCCEEDED
        elif len(list(self._in(PartState.SUCCEEDED))) == self.n_parts:
            self.state = RunState.FINISHING
            self.parts[self.n_parts] = Part()
        return None

    def _fail(self, move: Move) -> None:
        if part := self._held(move):
            part.end(PartState.FAILED)
            self._end_failed()

    def _cancelled(self, move: Move) -> None:
        if part := self._held(move):
            part.end(PartState.CANCELLED)
        self._end_if_idle()

    def _release(self, move: Move) -> None:
        if part := self._held(move):
            self._give_back([part])

    def _retry(self, move: Move) -> None:
        if self.attempt >= TRIES and not self.asked_to_stop:
            self._fail(move)
        elif part := self._held(move):
            self._give_back([part])
            self.attempt += not self.asked_to_stop

    def _too_small(self, move: Move) -> None:
        """The worker that holds the part says that it has too little memory."""
        if not self._held(move):
            return
        memory = MEMORY.get(move.worker)
        if memory is None:
            self._retry(move)
            return
        self.too_little = max(self.too_little, memory)
        if self.too_little < max(MEMORY.values()) or self.asked_to_stop:
            self._release(move)
        else:
            self._fail(move)

    def _expire(self, move: Move) -> None:
        if part := self._held(move):
            part.expired = True

    def _reap(self, move: Move) -> int:
        lost = [each for each in self._in(PartState.RUNNING) if each.expired]
        if not lost:
            return 0
        if all(part.counted for part in lost):
            self._give_back(lost)
            return len(lost)
        self.crashes += 1
        for part in self._in(PartState.RUNNING):
            part.counted = True
        if (self.crashes >= TRIES or self.attempt >= TRIES) and not self.asked_to_stop:
            for part in lost:
                part.end(PartState.FAILED)
            self._end_failed()
        else:
            self._give_back(lost)
            self.attempt += not self.asked_to_stop
        return len(lost)

    def _cancel(self, move: Move) -> None:
        if self.state in TERMINAL:
            return
        self.asked_to_stop = True
        for part in self._in(PartState.QUEUED):
            part.end(PartState.CANCELLED)
        self._end_if_idle()

    def _take(self, move: Move) -> bool | None:
        if self.state not in TERMINAL or self.published or self.hold:
            return None
        self.hold = _GIVEN
        return True

    def _renew(self, move: Move) -> bool | str:
        if not self._holds(move):
            return "HoldLost"
        self.hold = _GIVEN
        return True

    def _published(self, move: Move) -> str | None:
        if not self._holds(move):
            return "HoldLost"
        self.published, self.hold = True, None
        return None

    def _not_published(self, move: Move) -> None:
        if self._holds(move):
            self.hold = None

    def _reopen(self, move: Move) -> None:
        self.published, self.hold = False, None

    def _holds(self, move: Move) -> bool:
        return self.hold is not None and self.hold == move.hold

    def _give_back(self, given: list[Part]) -> None:
        for part in given:
            part.end(PartState.CANCELLED if self.asked_to_stop else PartState.QUEUED)
            part.epoch += not self.asked_to_stop
        if self.asked_to_stop:
            self._end_if_idle()
        elif self.state is RunState.RUNNING and not list(self._in(PartState.RUNNING)):
            self.state = RunState.QUEUED

    def _end_if_idle(self) -> None:
        under_way = list(self._in(PartState.RUNNING))
        if self.asked_to_stop and self.state not in TERMINAL and not under_way:
            self.state = RunState.CANCELLED

    def _end_failed(self) -> None:
        for part in [*self._in(PartState.QUEUED), *self._in(PartState.RUNNING)]:
            part.end(PartState.CANCELLED)
        self.state = RunState.FAILED
