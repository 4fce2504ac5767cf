"""Enters planned runs into the database, with their prompts and with the runs they need."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import null
from sqlalchemy.orm import Session

from analyses import registry
from tracker.domain import Priority, Run
from tracker.domain.run_notes import RunNotes
from tracker.queueing.planned_runs import PlannedRun
from tracker.store import distributions as distribution_store
from tracker.store import inputs as input_store
from tracker.store import pairs as pair_store
from tracker.store import runs as run_store


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Who asks for a run, how soon it should start, how it is cut into parts."""

    created_by: str
    priority: Priority
    prompts_per_part: int


class Ledger:
    """What one transaction enters; `known` stand for their fingerprints, new ones among them."""

    def __init__(self, session: Session, fingerprints: Collection[str]) -> None:
        run_store.take_turn(session)
        self.session = session
        self.known = run_store.standing(session, fingerprints)
        self.distributions: dict[str, int] = {}
        self.beside: set[object] = set()  # companions that were stored

    def enter(self, planned: PlannedRun, terms: Terms, *, nonce: str | None = None) -> Run:
        """A new run, after those it needs; it repeats the one that stands for its fingerprint."""
        known = self.known.get(planned.fingerprint)
        size = len(planned.distribution.prompts)
        run = run_store.insert_run(
            self.session,
            fingerprint=planned.fingerprint,
            bounds=part_bounds(size, planned.params.batch_size, terms.prompts_per_part),
            priority=terms.priority,
            inputs=self._inputs(planned, terms),
            rerun_of=known.id if known else None,
            nonce=nonce,
            analysis=planned.analysis.name,
            analysis_version=planned.analysis.version,
            engine_version=registry.ENGINE_VERSION,
            params=planned.params.model_dump(mode="json"),
            model_id=planned.model.id,
            distribution_id=self._distribution(planned),
            seed=planned.seed,
            n_prompts=size,
            needs_memory=planned.needs_memory,
            notes=RunNotes(warnings=tuple(planned.warnings)).as_json()
            if planned.warnings
            else null(),
            created_by=terms.created_by,
        )
        assert run is not None  # in this transaction nobody else can have entered it
        self.known.setdefault(planned.fingerprint, run)
        return run

    def _inputs(self, planned: PlannedRun, terms: Terms) -> dict[str, UUID]:
        """The runs that it needs: those that stand, as urgent as itself now, or new ones."""
        found = {
            name: self.known.get(each.fingerprint) or self.enter(each, terms)
            for name, each in planned.inputs.items()
        }
        ids = {name: run.id for name, run in found.items()}
        needed = input_store.with_inputs(self.session, ids.values()) if ids else []
        run_store.hasten(self.session, needed, terms.priority)
        return ids

    def _distribution(self, planned: PlannedRun) -> int:
        of, beside = planned.distribution, planned.params.companions
        if of.hash not in self.distributions:
            added = distribution_store.add_distribution(self.session, of)
            self.distributions[of.hash] = added
        stored = self.distributions[of.hash]
        if beside and (of.hash, beside, planned.seed) not in self.beside:
            self.beside.add((of.hash, beside, planned.seed))
            pair_store.add_pairs(self.session, stored, planned.pairs, seed=planned.seed)
        return stored


def part_bounds(size: int, batch_size: int, prompts_per_part: int) -> list[tuple[int, int]]:
    """Cut `size` prompts into parts that never split a batch, so that the cut changes no number."""
    step = max(1, round(prompts_per_part / batch_size)) * batch_size
    return [(start, min(start + step, size)) for start in range(0, size, step)]
