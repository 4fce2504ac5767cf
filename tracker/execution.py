"""What a worker does: claim a part, measure its prompts, commit; and finish runs. Loads torch."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import torch
from mlflow import MlflowClient
from structlog import get_logger

from analyses import registry
from analyses.checkpoints import folders
from analyses.errors import Refused
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import load_tokenizer, tokenize
from analyses.results import Measured
from tracker import finishing, models, publication
from tracker.db import Sessions, transaction
from tracker.domain import Model, PartClaim, PartKind, Run
from tracker.errors import TrackerError
from tracker.heartbeat import Beat, Released, StopRequest, kept_alive
from tracker.home import Home
from tracker.provenance import provenance
from tracker.publication import MlflowUnavailable
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
from tracker.store.parts import CancelSeen, LeaseLost

log = get_logger(__name__)

_MLFLOW_WAIT = 15.0  # seconds before a run that could not store its tensors is tried again
_REFUSALS = (Refused, TrackerError)


@dataclass
class Workbench:
    """What one worker process works with; it keeps the last model it loaded."""

    name: str
    sessions: Sessions
    mlflow: MlflowClient
    home: Home
    roots: Sequence[Path]
    device: str
    lease: float
    heartbeat: float
    stop: StopRequest = field(default_factory=StopRequest)
    loaded: tuple[Model, LanguageModel] | None = None

    def language_model(self, model: Model) -> LanguageModel:
        """The model in memory, loaded now unless it is there; raises `Refused`."""
        if self.loaded is not None and self.loaded[0].id == model.id:
            return self.loaded[1]
        self.drop_model()
        files = models.files_of(model.ref, home=self.home, roots=self.roots)
        loaded = LanguageModel.load(
            files.folder,
            dtype=model.dtype,
            device=self.device,
            expect=model.fingerprint,
            remembered=models.hashes(self.home),
        )
        self.loaded = (model, loaded)
        return loaded

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
    with transaction(bench.sessions) as session:
        waiting = parts.waiting_runs(session, loaded_model_id=loaded, hint=hint)
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
                finishing.finish(claim, beat, bench.sessions, bench.mlflow, lease=bench.lease)
            else:
                _measure(bench, claim, beat)
        logger.info("part done")
    except LeaseLost:
        logger.warning("the part was taken back; its results are dropped")
    except CancelSeen:
        with transaction(bench.sessions) as session:
            endings.cancelled(session, claim)
    except Released:
        with transaction(bench.sessions) as session:
            endings.release(session, claim, reason="released: its worker was stopped")
    except MlflowUnavailable as error:
        logger.warning("MLflow cannot store the tensors yet", error=str(error))
        with transaction(bench.sessions) as session:
            reason = f"waiting for MLflow: {error}"
            endings.release(session, claim, wait=_MLFLOW_WAIT, reason=reason)
    except (MemoryError, torch.OutOfMemoryError) as error:
        logger.warning("out of memory", error=str(error))
        bench.drop_model()
        with transaction(bench.sessions) as session:
            endings.retry(session, claim, reason=f"oom: {first_line(error)}")
    except _REFUSALS as error:
        _fail(bench, claim, str(error))
    except Exception as error:
        logger.exception("the analysis raised")
        _fail(bench, claim, f"error: {type(error).__name__}: {first_line(error)}")
    publish_if_ended(bench, claim.run_id)


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a row; the worker's log has the rest."""
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _fail(bench: Workbench, claim: PartClaim, reason: str) -> None:
    with transaction(bench.sessions) as session:
        endings.fail(session, claim, reason=reason)


def _measure(bench: Workbench, claim: PartClaim, beat: Beat) -> None:
    """Measure a slice of prompts and commit all of it, or none of it."""
    with transaction(bench.sessions) as session:
        run = runs.run(session, claim.run_id)
        model = model_store.model(session, run.model_id)
        prompts = distributions.prompts(session, run.distribution_id, claim.start, claim.stop)
    analysis = registry.find(run.analysis)
    _check_version(run, analysis.version)
    lm = bench.language_model(model)
    _show(bench, busy_with=claim.run_id)
    beat(0)
    tokenizer = load_tokenizer(folders.read(lm.folder).tokenizer)
    tokenized = [tokenize(tokenizer, prompt) for prompt in prompts]
    measured: Measured = analysis.measure()(lm, tokenized, analysis.checked(run.params), beat)
    with transaction(bench.sessions) as session:
        parts.fence(session, claim, lease=bench.lease)
        scores.insert_part_scores(session, claim, model.id, measured.scores)
        tensors.insert_part_tensors(session, claim, measured.tensors)
        endings.finish_part(session, claim, provenance=provenance(lm))


class OtherVersion(TrackerError):
    def __init__(self, run: Run, installed: int) -> None:
        super().__init__(
            f"The run was queued for version {run.analysis_version} of {run.analysis!r}, this "
            f"worker has version {installed}. Update the worker, or queue the run again."
        )


def _check_version(run: Run, installed: int) -> None:
    if run.analysis_version != installed:
        raise OtherVersion(run, installed)


def publish_if_ended(bench: Workbench, run_id: UUID) -> None:
    """Make MLflow show a run's end; when that fails, the dispatcher rings for it again."""
    try:
        finishing.publish(bench.sessions, bench.mlflow, run_id)
    except publication.MlflowUnavailable as error:
        log.warning("not published yet", run_id=str(run_id), error=str(error))


def _show(bench: Workbench, *, busy_with: UUID | None) -> None:
    with transaction(bench.sessions) as session:
        workers.works_on(
            session,
            name=bench.name,
            run_id=None if busy_with is None else str(busy_with),
            loaded_model=bench.loaded[0].name if bench.loaded else None,
            device=str(bench.loaded[1].device) if bench.loaded else None,
        )
