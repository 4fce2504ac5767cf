"""What a worker does: claim a part, measure its prompts, commit; and finish runs. Loads torch."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import torch
from mlflow import MlflowClient
from sqlalchemy.orm import Session
from structlog import get_logger

from analyses import knowledge
from analyses.checkpoints import folders, refs
from analyses.checkpoints.hub import CorruptDownload
from analyses.errors import Refused
from analyses.hub import HubUnreachable, NotOnHub
from analyses.language_model import LanguageModel
from analyses.prompts.examples import examples
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Companion
from analyses.prompts.tokenization import load_tokenizer
from analyses.registry import Params
from analyses.results import Result
from tracker import finishing, mirror, run_inputs
from tracker.db import Sessions, passes, patiently, transaction
from tracker.domain import Model, PartClaim, PartKind, Run
from tracker.errors import CannotKeep, TrackerError
from tracker.finishing import NotHere
from tracker.heartbeat import Beat, Released, StopRequest, kept_alive
from tracker.home import Home
from tracker.provenance import provenance
from tracker.publication import MlflowUnavailable
from tracker.spool import Spool
from tracker.store import (
    distributions,
    endings,
    parts,
    runs,
    scores,
    tensors,
    workers,
)
from tracker.store import models as model_store
from tracker.store import pairs as pair_store
from tracker.store.parts import CancelSeen, LeaseLost
from tracker.urls import first_line

log = get_logger(__name__)

# What another host may have: another folder, another disk, another login.
_OF_THIS_HOST = (
    folders.NoSuchModel,
    folders.OutsideRoots,
    folders.MissingFile,
    HubUnreachable,
    NotOnHub,
    CorruptDownload,
)
_MLFLOW_WAIT = 15.0  # seconds before a run that could not store its tensors is tried again
_HEAD_START = 5.0  # seconds in which other workers may try what this one cannot do


@dataclass
class Workbench:
    """What one worker process works with; it keeps the model and the inputs it loaded last."""

    name: str
    sessions: Sessions
    mlflow: MlflowClient
    home: Home
    roots: Sequence[Path]
    device: str
    lease: float
    heartbeat: float
    app_url: str | None = None
    memory_budget: int | None = None  # bytes above the loaded model; None: a share of what is free
    stop: StopRequest = field(default_factory=StopRequest)
    avoid: dict[UUID, float] = field(default_factory=dict)  # runs, until a monotonic time
    loaded: tuple[Model, LanguageModel] | None = None
    inputs: tuple[UUID, Mapping[str, Result]] | None = None  # of the run they were loaded for

    @property
    def spool(self) -> Spool:
        return Spool(self.home.spool)

    def language_model(self, model: Model) -> LanguageModel:
        """The model in memory, loaded now unless it is there; raises `Refused`, `NotHere`."""
        if self.loaded is not None and self.loaded[0].id == model.id:
            return self.loaded[1]
        self.drop_model()
        try:
            files = refs.fetched(model.ref, cache=self.home.models, roots=self.roots)
        except _OF_THIS_HOST as error:
            raise NotHere(str(error)) from error
        loaded = LanguageModel.load(
            files.folder,
            dtype=model.dtype,
            device=self.device,
            expect=model.fingerprint,
            cache=self.home.models,
            memory_budget=self.memory_budget,
        )
        self.loaded = (model, loaded)
        return loaded

    def inputs_of(self, run_id: UUID, beat: Beat) -> Mapping[str, Result]:
        """The results that the run needs, as `run_inputs.load` gives them; kept for its parts."""
        if self.inputs is None or self.inputs[0] != run_id:
            self.inputs = None
            self.inputs = run_id, run_inputs.load(self.sessions, self.mlflow, run_id, beat)
        return self.inputs[1]

    def drop_model(self) -> None:
        """Give the memory of the loaded model back."""
        self.loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def work(bench: Workbench, hint: UUID | None) -> int:
    """Do parts, the most urgent first, until none waits; how many were done."""
    done = 0
    while not bench.stop:
        claim = _claim_next(bench, hint)
        if claim is None:
            break
        _show(bench, busy_with=claim.run_id)
        _do(bench, claim)
        done += 1
    _show(bench, busy_with=None)
    return done


def _claim_next(bench: Workbench, hint: UUID | None) -> PartClaim | None:
    loaded = bench.loaded[0].id if bench.loaded else None
    now = time.monotonic()
    avoid = [run_id for run_id, until in bench.avoid.items() if until > now]
    waiting = patiently(
        bench.sessions,
        lambda session: parts.waiting_runs(session, loaded_model_id=loaded, hint=hint, avoid=avoid),
    )
    for run_id in waiting:
        with transaction(bench.sessions) as session:
            claim = parts.claim(session, run_id, worker=bench.name, lease=bench.lease)
        if claim is not None:
            return claim
    return None


def _do(bench: Workbench, claim: PartClaim) -> None:
    """Work on a claimed part; whatever happens, the part ends or goes back to the queue."""
    logger = log.bind(run_id=str(claim.run_id), part=claim.number)
    try:
        with kept_alive(
            claim,
            sessions=bench.sessions,
            lease=bench.lease,
            every=bench.heartbeat,
            stop=bench.stop,
        ) as beat:
            if claim.kind is PartKind.FINISH:
                finishing.finish(
                    claim, beat, bench.sessions, bench.mlflow, bench.spool, lease=bench.lease
                )
            else:
                _measure(bench, claim, beat)
        logger.info("part done")
    except LeaseLost:
        logger.warning("the part was taken back; its results are dropped")
    except CancelSeen:
        _end(bench, endings.cancelled, claim)
    except Released:
        _end(bench, endings.release, claim, reason="released: its worker was stopped")
    except MlflowUnavailable as error:
        logger.warning("MLflow is away", error=str(error))
        reason = f"waiting for MLflow: {error}"
        _end(bench, endings.release, claim, wait=_MLFLOW_WAIT, reason=reason)
    except CannotKeep as error:
        logger.warning("this worker's disk is full", error=str(error))
        bench.avoid[claim.run_id] = time.monotonic() + _MLFLOW_WAIT + _HEAD_START
        reason = f"waiting for room on {bench.name}: {error}"
        _end(bench, endings.release, claim, wait=_MLFLOW_WAIT, reason=reason)
    except NotHere as error:
        logger.warning("this worker cannot do the part", error=str(error))
        bench.avoid[claim.run_id] = time.monotonic() + _HEAD_START
        _end(bench, endings.retry, claim, reason=f"{bench.name}: {error}")
    except (Refused, TrackerError) as error:
        if passes(error):
            logger.warning("the database is away; the part goes back", error=str(error))
            _end(bench, endings.release, claim, reason="released: the database was away")
        else:
            _end(bench, endings.fail, claim, reason=str(error))
    except Exception as error:
        if is_out_of_memory(error):
            logger.warning("out of memory", error=str(error))
            bench.drop_model()
            _end(bench, endings.retry, claim, reason=f"oom: {first_line(error)}")
        else:
            logger.exception("the analysis raised")
            said = f"error: {type(error).__name__}: {first_line(error)}"
            _end(bench, endings.fail, claim, reason=said)
    publish_if_ended(bench, claim.run_id)


def _end(bench: Workbench, how: Callable[..., object], claim: PartClaim, **why: Any) -> None:
    """End the part or give it back; each way is refused by itself if the lease is lost."""
    patiently(bench.sessions, lambda session: how(session, claim, **why))


def is_out_of_memory(error: BaseException) -> bool:
    """On a GPU torch has a class for it, on the CPU only a sentence."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _measure(bench: Workbench, claim: PartClaim, beat: Beat) -> None:
    """Measure a slice of prompts and commit all of it, or none of it."""
    with transaction(bench.sessions) as session:
        run = runs.run(session, claim.run_id)
        model = model_store.model(session, run.model_id)
        prompts = distributions.prompts(session, run.distribution_id, claim.start, claim.stop)
    analysis = finishing.analysis_of(run)
    params = analysis.checked(run.params)
    companions = _companions(bench, run, params, claim)
    inputs = bench.inputs_of(run.id, beat)
    lm = bench.language_model(model)
    _show(bench, busy_with=claim.run_id)
    beat(0)
    tokenizer = load_tokenizer(folders.read(lm.folder).tokenizer)
    measured = knowledge.measured(
        analysis.measure(),
        lm,
        examples(tokenizer, prompts, companions),
        params,
        beat,
        inputs=inputs,
    )
    measured.check(len(prompts))

    def commit(session: Session) -> None:
        parts.fence(session, claim, lease=bench.lease)
        scores.insert_part_scores(session, claim, model.id, measured.scores)
        tensors.insert_part_tensors(session, claim, measured.tensors)
        endings.finish_part(session, claim, provenance=provenance(lm))

    patiently(bench.sessions, commit)


def _companions(
    bench: Workbench, run: Run, params: Params, claim: PartClaim
) -> dict[Companion, dict[int, Prompt]]:
    """The prompts beside those of a slice, as they were stored when the run was queued."""
    where = run.distribution_id, claim.start, claim.stop
    with transaction(bench.sessions) as session:
        return {
            kind: {
                pair.base.number: pair.source
                for pair in pair_store.pairs(session, kind, *where, seed=run.seed)
            }
            for kind in params.companions
        }


def publish_if_ended(bench: Workbench, run_id: UUID) -> None:
    """Make MLflow show a run's end; when that fails, the dispatcher rings for it again."""
    try:
        mirror.publish(bench.sessions, bench.mlflow, bench.spool, run_id, app_url=bench.app_url)
    except TrackerError as error:
        log.warning("not published yet", run_id=str(run_id), error=str(error))
    except Exception:
        log.exception("publishing failed", run_id=str(run_id))


def _show(bench: Workbench, *, busy_with: UUID | None) -> None:
    def show(session: Session) -> None:
        workers.works_on(
            session,
            name=bench.name,
            run_id=None if busy_with is None else str(busy_with),
            loaded_model=bench.loaded[0].name if bench.loaded else None,
            device=str(bench.loaded[1].device) if bench.loaded else None,
        )

    patiently(bench.sessions, show)
