"""What a nemesis has shown, in numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import text

from tracker.database.db import Sessions, transaction

from .checker import Violation
from .invariants import Harm
from .recovery import Recovery, claimed_again, percentiles

_STATES = "SELECT state, count(*) FROM headbook.run GROUP BY state"
_REAL = "SELECT count(*) FROM headbook.run WHERE analysis = 'attribution' AND state = 'succeeded'"
KILLS = ("worker's child killed", "worker killed")
_REFUSED = "the lease was lost; the results are dropped"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Runs by how they ended and by what was wrong with them; what faults there were and cost."""

    seed: int
    asked: int  # runs that people were to queue
    seconds: float  # under faults
    runs: int
    states: dict[str, int]
    real: int  # of them succeeded as a real analysis
    harmed: dict[str, int]  # runs, by harm
    faults: dict[str, int]  # by kind
    people: dict[str, int]  # what they did besides
    refused: int  # writes of workers that had lost their part
    kills: int
    kills_of_a_part: int
    parts_per_kill: int  # the most that one kill has cost
    parts: int
    claimed_again: int  # claims beyond the first of a part
    recovery: dict[str, dict[str, float]]  # seconds, by kind of hit and over all kills
    rest: float  # seconds until all runs had ended, once faults were lifted

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summary(
    sessions: Sessions,
    *,
    broken: Sequence[Violation],
    recovered: Sequence[Recovery],
    **known: Any,
) -> Summary:
    with transaction(sessions) as session:
        states = dict(map(tuple, session.execute(text(_STATES))))
        real = session.scalars(text(_REAL)).one()
    again, parts = claimed_again(sessions)
    kills = [each for each in recovered if each.hit.kind in KILLS]
    return Summary(
        runs=sum(states.values()),
        states=states,
        real=real,
        harmed={harm.value: len({v.run_id for v in broken if v.harm is harm}) for harm in Harm},
        kills=len(kills),
        kills_of_a_part=sum(each.parts > 0 for each in kills),
        parts_per_kill=max((each.parts for each in kills), default=0),
        parts=parts,
        claimed_again=again,
        recovery=_recovery(recovered) | {"kills": percentiles(_seconds(kills))},
        **known,
    )


def refused(logs: str) -> int:
    """How many writes were refused because the part had been taken back, by what workers say."""
    return logs.count(_REFUSED)


def _recovery(recovered: Sequence[Recovery]) -> dict[str, dict[str, float]]:
    kinds = Counter(each.hit.kind for each in recovered)
    return {
        kind: percentiles(_seconds([each for each in recovered if each.hit.kind == kind]))
        for kind in kinds
    }


def _seconds(recovered: Sequence[Recovery]) -> list[float]:
    return [each.seconds for each in recovered if each.seconds is not None]
