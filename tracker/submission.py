"""Queueing a run: everything is checked at the door, then recorded in one transaction.

Nothing is told to the broker here: the row is the outbox, and the dispatcher rings for it. Torch
is never imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from analyses import registry
from analyses.checkpoints import refs
from analyses.errors import Refused
from analyses.prompts import distributions
from analyses.prompts.distributions import Distribution, DistributionSpec
from analyses.prompts.places import places
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Pair, pairs
from analyses.prompts.tokenization import load_tokenizer, tokenize_all
from analyses.registry import Analysis, Params
from tracker.db import Sessions, transaction
from tracker.domain import Model, Priority, Run
from tracker.errors import TrackerError
from tracker.fingerprint import run_fingerprint
from tracker.home import Home
from tracker.store import distributions as distribution_store
from tracker.store import models as model_store
from tracker.store import pairs as pair_store
from tracker.store import runs as run_store

PROMPTS_PER_PART = 32
MOST_SEED = 2**63


class InvalidRequest(TrackerError):
    """The request cannot be queued; the message is that of what was wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for."""

    analysis: str
    model: str
    distribution: DistributionSpec
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    priority: Priority = Priority.NORMAL
    created_by: str
    study: str | None = None
    prompts_per_part: int = PROMPTS_PER_PART
    force: bool = False  # run again although the fingerprint is live or done
    nonce: str | None = None  # a form's: the same nonce never makes a second run


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The run that stands for a request; `new` if this request made it."""

    run: Run
    new: bool
    study: UUID | None


def submit(
    request: Request, *, sessions: Sessions, home: Home, roots: Sequence[Path] = ()
) -> Submitted:
    """Record the run that is asked for, or find the one that is live or done already.

    Raises `InvalidRequest` for what the analyses refuse, and other `TrackerError`s.
    """
    if not 0 <= request.seed < MOST_SEED:
        raise InvalidRequest(f"A seed is from 0 to {MOST_SEED - 1}; {request.seed} was given.")
    with transaction(sessions) as session:
        model = model_store.model_named(session, request.model)
    try:
        analysis = registry.find(request.analysis)
        params = analysis.checked(request.params)
        distribution = distributions.build(request.distribution)
        made = _pairs(distribution, params, seed=request.seed)
        prompts = [*distribution.prompts, *(pair.source for pair in made)]
        check_labels(model, prompts, home=home, roots=roots)
    except Refused as error:
        raise InvalidRequest(str(error)) from error
    return _record(request, analysis, params, model, distribution, made, sessions=sessions)


def _pairs(distribution: Distribution, params: Params, *, seed: int) -> tuple[Pair, ...]:
    """The prompts that the analysis needs beside those of the distribution."""
    return tuple(
        pair for kind in params.companions for pair in pairs(distribution, kind, seed=seed)
    )


def check_labels(
    model: Model, prompts: Sequence[Prompt], *, home: Home, roots: Sequence[Path]
) -> None:
    """Refuse prompts whose labels are not one token, asked or offered, for this model."""
    tokenizer = load_tokenizer(refs.tokenizer(model.ref, cache=home.models, roots=roots))
    tokenize_all(tokenizer, prompts)
    for prompt in prompts:
        places(tokenizer, prompt)


def _record(
    request: Request,
    analysis: Analysis,
    params: Params,
    model: Model,
    distribution: Distribution,
    made: Sequence[Pair],
    *,
    sessions: Sessions,
) -> Submitted:
    values = params.model_dump(mode="json")
    fingerprint = run_fingerprint(
        analysis, values, model, distribution_hash=distribution.hash, seed=request.seed
    )
    size = len(distribution.prompts)
    with transaction(sessions) as session:
        known = run_store.live_or_done(session, fingerprint=fingerprint, nonce=request.nonce)
        again = request.force and known is not None and known.fingerprint == fingerprint
        run = None
        if known is None or again:
            stored = distribution_store.add_distribution(session, distribution)
            if made:
                pair_store.add_pairs(session, stored, made, seed=request.seed)
            run = run_store.insert_run(
                session,
                fingerprint=fingerprint,
                bounds=part_bounds(size, params.batch_size, request.prompts_per_part),
                priority=request.priority,
                rerun_of=known.id if known and again else None,
                nonce=request.nonce,
                analysis=analysis.name,
                analysis_version=analysis.version,
                engine_version=registry.ENGINE_VERSION,
                params=values,
                model_id=model.id,
                distribution_id=stored,
                seed=request.seed,
                n_prompts=size,
                created_by=request.created_by,
            )
        new = run is not None
        # Somebody else may have recorded the same fingerprint between the look and the insert.
        run = run or run_store.live_or_done(session, fingerprint=fingerprint, nonce=request.nonce)
        assert run is not None
        study = _study(request, run, session) if request.study else None
    return Submitted(run=run, new=new, study=study)


def _study(request: Request, run: Run, session: Session) -> UUID:
    assert request.study is not None
    return run_store.add_to_study(
        session, name=request.study, created_by=request.created_by, runs=[run.id]
    )


def part_bounds(size: int, batch_size: int, prompts_per_part: int) -> list[tuple[int, int]]:
    """Cut `size` prompts into parts that never split a batch, so that the cut changes no number."""
    step = max(1, round(prompts_per_part / batch_size)) * batch_size
    return [(start, min(start + step, size)) for start in range(0, size, step)]
