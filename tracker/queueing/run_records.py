"""Writes planned runs to the database, with their prompts and the runs they need."""

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
    """Who submits a run, how soon it should start, and how it is split into parts."""

    created_by: str
    priority: Priority
    prompts_per_part: int


class Ledger:
    """Records runs in one transaction; `known` holds the current run of each fingerprint."""

    def __init__(self, session: Session, fingerprints: Collection[str]) -> None:
        run_store.take_turn(session)
        self.session = session
        self.known = run_store.standing(session, fingerprints)
        self.distributions: dict[str, int] = {}
        self.companions: set[object] = set()  # keys of the companions that are stored

    def enter(self, planned: PlannedRun, terms: Terms, *, nonce: str | None = None) -> Run:
        """Record a new run after those it needs; a rerun if its fingerprint has a run already."""
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
        assert run is not None  # `take_turn` keeps other submissions out
        self.known.setdefault(planned.fingerprint, run)
        return run

    def _inputs(self, planned: PlannedRun, terms: Terms) -> dict[str, UUID]:
        """The runs that it needs, existing or new; existing ones get at least its priority."""
        runs = {
            name: self.known.get(needed.fingerprint) or self.enter(needed, terms)
            for name, needed in planned.inputs.items()
        }
        ids = {name: run.id for name, run in runs.items()}
        needed = input_store.with_inputs(self.session, ids.values()) if ids else []
        run_store.hasten(self.session, needed, terms.priority)
        return ids

    def _distribution(self, planned: PlannedRun) -> int:
        distribution, companions = planned.distribution, planned.params.companions
        if distribution.hash not in self.distributions:
            added = distribution_store.add_distribution(self.session, distribution)
            self.distributions[distribution.hash] = added
        distribution_id = self.distributions[distribution.hash]
        key = distribution.hash, companions, planned.seed
        if companions and key not in self.companions:
            self.companions.add(key)
            pair_store.add_pairs(self.session, distribution_id, planned.pairs, seed=planned.seed)
        return distribution_id


def part_bounds(size: int, batch_size: int, prompts_per_part: int) -> list[tuple[int, int]]:
    """Split `size` prompts into parts; no batch is divided, so that scores do not change."""
    step = max(1, round(prompts_per_part / batch_size)) * batch_size
    return [(start, min(start + step, size)) for start in range(0, size, step)]
