"""Stores pairs of prompts: each prompt of a distribution (base) with its source prompt."""

from collections.abc import Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.prompts.sources import Companion, Difference, Pair
from tracker.store.distributions import stored, to_prompt
from tracker.tables import PromptPairRow, PromptRow


def add_pairs(session: Session, distribution_id: int, made: Sequence[Pair], *, seed: int) -> None:
    """Store pairs of a stored distribution; pairs that already exist do not change."""
    rows = [
        {
            "distribution_id": distribution_id,
            "number": pair.base.number,
            "kind": pair.kind.value,
            "seed": seed,
            "source_number": pair.source.number,
            "differs": [each.value for each in Difference if each in pair.differs],
            **stored(pair.source),
        }
        for pair in made
    ]
    session.execute(insert(PromptPairRow).on_conflict_do_nothing(), rows)


def pairs(
    session: Session, kind: Companion, distribution_id: int, start: int, stop: int, *, seed: int
) -> list[Pair]:
    """The pairs of prompts `start` to `stop` - 1, in the order of the prompts."""
    query = (
        select(PromptRow, PromptPairRow)
        .join(
            PromptPairRow,
            tuple_(PromptRow.distribution_id, PromptRow.number)
            == tuple_(PromptPairRow.distribution_id, PromptPairRow.number),
        )
        .where(
            PromptPairRow.distribution_id == distribution_id,
            PromptPairRow.kind == kind.value,
            PromptPairRow.seed == seed,
            PromptPairRow.number >= start,
            PromptPairRow.number < stop,
        )
        .order_by(PromptPairRow.number)
    )
    return [
        Pair(
            kind=kind,
            base=to_prompt(base, number=base.number),
            source=to_prompt(pair, number=pair.source_number),
            differs=frozenset(map(Difference, pair.differs)),
        )
        for base, pair in session.execute(query)
    ]
