"""What a worker does: claim parts, measure prompts, commit, and finish runs. Loads torch."""

import time
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session
from structlog import get_logger

from analyses import knowledge
from analyses.prompts.examples import examples
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Companion
from tracker.database.db import patiently, transaction
from tracker.domain import PartClaim, PartKind, Run
from tracker.errors import TrackerError
from tracker.publishing import mirror
from tracker.publishing.mlflow_pause import MlflowPaused
from tracker.run_logs import run_log
from tracker.store import distributions, endings, part_tensors, parts, runs, scores
from tracker.store import models as model_store
from tracker.store import pairs as pair_store
from tracker.working import finishing, proving, room
from tracker.working.context import WorkerContext
from tracker.working.heartbeat import Beat, kept_alive
from tracker.working.part_tensors import PartTensorWriter
from tracker.working.provenance import provenance
from tracker.working.unfinished_parts import settle

log = get_logger(__name__)


def work(context: WorkerContext, hint: UUID | None) -> int:
    """Prove models, then do parts, the most urgent first, until none is waiting; how many parts."""
    done = 0
    while not context.stop:
        if proving.prove_next(context):
            continue
        claimed = _claim_next(context, hint)
        if claimed is None:
            break
        claim, since = claimed
        context.show(busy_with=claim.run_id)
        with run_log.kept(claim, sessions=context.aside, worker=context.name):
            _do(context, claim, since)
        hint = claim.run_id  # its model and inputs are loaded now
        done += 1
    room.make(context)
    context.show(busy_with=None)
    return done


def _claim_next(context: WorkerContext, hint: UUID | None) -> tuple[PartClaim, float] | None:
    """A claim, and when it was requested by the monotonic clock: its lease began no earlier."""
    loaded = context.loaded.ids
    now = time.monotonic()
    avoid = [run_id for run_id, until in context.avoid.items() if until > now]
    waiting = patiently(
        context.sessions,
        lambda session: parts.waiting_runs(
            session, loaded=loaded, hint=hint, worker=context.name, avoid=avoid
        ),
    )
    for run_id in waiting:
        since = time.monotonic()
        with transaction(context.sessions) as session:
            claim = parts.claim(session, run_id, worker=context.name, lease=context.limits.lease)
        if claim is not None:
            return claim, since
    return None


def _do(context: WorkerContext, claim: PartClaim, since: float) -> None:
    """Work on a claimed part; in any case, the part ends or goes back to the queue."""
    try:
        with kept_alive(
            claim,
            since=since,
            sessions=context.aside,
            limits=context.limits,
            stop=context.stop,
            give_up=lambda reason: settle(context, claim, reason),
        ) as beat:
            if claim.kind is PartKind.FINISH:
                lease = context.limits.lease
                finishing.finish(claim, beat, context.sessions, context.artifacts, lease=lease)
            else:
                _measure(context, claim, beat)
    except Exception as error:
        settle(context, claim, error)
    else:
        log.info("part done", run_id=str(claim.run_id), part=claim.number)
    publish_if_ended(context, claim.run_id)


def _measure(context: WorkerContext, claim: PartClaim, beat: Beat) -> None:
    """Measure a slice of prompts and commit all results at once."""
    with transaction(context.sessions) as session:
        run = runs.run(session, claim.run_id)
        model = model_store.model(session, run.model_id)
        prompts = distributions.prompts(session, run.distribution_id, claim.start, claim.stop)
        spec = distributions.spec(session, run.distribution_id)
    analysis = finishing.analysis_of(run)
    params = analysis.ask(lambda: analysis.checked(run.params))
    if model.proved_at is not None and model.proved_at > run.created_at:  # sizes were not known
        analysis.ask(lambda: params.check(model, spec))
    kinds = analysis.ask(lambda: tuple(params.companions))
    companions = _companions(context, run, kinds, claim)
    inputs = context.inputs_of(run.id, beat)
    lm = None
    if analysis.needs_model:
        room.wait_for(context, beat)
        lm = context.language_model(model)
    context.show(busy_with=claim.run_id)
    beat(0)
    if lm is None:
        measured = knowledge.without_model(analysis.measure(), prompts, params, beat, inputs)
    else:
        measured = knowledge.measured(
            analysis.measure(),
            lm,
            examples(lm.tokenizer, prompts, companions),
            params,
            beat,
            inputs=inputs,
        )
    measured.check([prompt.number for prompt in prompts])
    lease = context.limits.lease
    writer = PartTensorWriter(sessions=context.sessions, claim=claim, lease=lease, beat=beat)
    written = writer.write(measured.tensors)

    def commit(session: Session) -> None:
        parts.fence(session, claim, lease=lease)
        scores.insert_part_scores(session, claim, model.id, measured)
        part_tensors.insert_part_tensors(session, claim, written)
        endings.finish_part(session, claim, provenance=provenance(lm))

    patiently(context.sessions, commit)


def _companions(
    context: WorkerContext, run: Run, kinds: Sequence[Companion], claim: PartClaim
) -> dict[Companion, dict[int, Prompt]]:
    """The companions of a slice's prompts, as they were stored when the run was queued."""
    where = run.distribution_id, claim.start, claim.stop
    with transaction(context.sessions) as session:
        return {
            kind: {
                pair.base.number: pair.source
                for pair in pair_store.pairs(session, kind, *where, seed=run.seed)
            }
            for kind in kinds
        }


def publish_if_ended(context: WorkerContext, run_id: UUID) -> None:
    """Publish a run if it has ended; after a failure the dispatcher wakes a worker up again."""
    try:
        with context.artifacts.pause.after_failure():
            mirror.publish(context.sessions, context.artifacts, run_id, app_url=context.app_url)
    except MlflowPaused:
        return
    except TrackerError as error:
        log.warning("not published yet", run_id=str(run_id), error=str(error))
    except Exception:
        log.exception("publishing failed", run_id=str(run_id))
