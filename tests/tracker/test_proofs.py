"""A model is recorded at once and proved by a worker; what is queued for it waits for that."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session
from stored_runs import detail

from analyses.engine.closure import DoesNotClose
from analyses.language_model import LanguageModel
from analyses.prompts.distributions import DistributionSpec
from tracker.database import db
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, ProofClaim, ProofState, Run, RunRequest, RunState
from tracker.home.home import Home
from tracker.publishing.artifacts import ArtifactStore
from tracker.publishing.publication import mlflow_client
from tracker.publishing.spool import Spool
from tracker.queueing import models, submission
from tracker.store import models as store
from tracker.store import next_work, parts, proofs, workers
from tracker.store.models import ModelRefused
from tracker.store.parts import LeaseLost
from tracker.tables import ModelRow, WorkerRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work
from tracker.working.heartbeat import Limits

from . import needing
from .test_models import save_latent


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A model whose files a test may change."""
    return Path(shutil.copytree(model_folder, tmp_path / "unproved"))


@pytest.fixture
def bench(sessions: Sessions, home: Home) -> Iterator[WorkerContext]:
    """A worker that no run asks to store a tensor."""
    aside = db.beside(sessions)
    yield WorkerContext(
        name="w1",
        sessions=sessions,
        aside=aside,
        home=home,
        device="cpu",
        artifacts=ArtifactStore(
            mlflow=mlflow_client("http://127.0.0.1:9"), spool=Spool(home.spool)
        ),
        roots=(),
    )
    db.close(aside)


def record(folder: Path, sessions: Sessions, home: Home) -> Model:
    return models.record_model(
        str(folder), name="m", dtype="float32", home=home, roots=(), sessions=sessions
    )


def queue(sessions: Sessions, home: Home, **changes: object) -> Run:
    recipe = DistributionSpec(size=4, split="test")
    asked: dict[str, Any] = {"analysis": "attribution", "model": "m", "recipe": recipe}
    request = RunRequest(**asked | changes)
    return submission.submit(request, created_by="ada", sessions=sessions, home=home).run


def now(sessions: Sessions, model: Model) -> Model:
    with transaction(sessions) as session:
        return store.model(session, model.id)


def waiting(sessions: Sessions, worker: str = "w1") -> tuple[bool, int]:
    """Whether a proof waits for the worker, and how many runs do."""
    with transaction(sessions) as session:
        runs = parts.waiting_runs(session, loaded=(), hint=None, worker=worker)
        proof = proofs.any_waits(session, worker=worker)
        errand = next_work.next_work(session, None, worker=worker)
    assert (errand is not None) == (proof or bool(runs))
    return proof, len(runs)


def begin(sessions: Sessions, worker: str = "w1", lease: float = 60) -> ProofClaim:
    with transaction(sessions) as session:
        claimed = proofs.claim(session, worker=worker, lease=lease)
    assert claimed is not None
    return claimed


def test_a_run_of_a_recorded_model_waits_for_its_proof_and_is_then_worked_on(
    folder: Path, sessions: Sessions, home: Home, bench: WorkerContext
) -> None:
    model = record(folder, sessions, home)
    assert (model.proof, model.shapes, model.n_bytes) == (ProofState.UNPROVED, None, None)
    assert (model.n_layers, model.n_heads, model.n_kv_heads, model.d_head) == (2, 4, 2, 8)
    run = queue(sessions, home)
    assert waiting(sessions) == (True, 0)
    assert detail(sessions, run.id).line.reason == "waiting: its model is not proved yet"
    with transaction(sessions) as session:
        assert parts.claim(session, run.id, worker="w1", lease=60) is None
    work(bench, hint=None)
    line = detail(sessions, run.id).line
    assert (line.state, line.done) == (RunState.FINISHING, 4)  # there is no MLflow
    proved = now(sessions, model)
    assert proved.proof is ProofState.PROVED
    assert proved.shapes is not None
    assert proved.n_bytes is not None
    on_the_spot = models.add_model(
        str(folder), name="m", dtype="float32", home=home, roots=(), sessions=sessions
    )
    assert on_the_spot == proved
    assert record(folder, sessions, home) == proved  # what is proved stays so
    assert queue(sessions, home).id == run.id  # and the fingerprint is that of before the proof


def test_runs_of_a_model_that_is_refused_fail_with_the_reason_and_no_more_are_queued(
    folder: Path,
    sessions: Sessions,
    home: Home,
    bench: WorkerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = record(folder, sessions, home)
    run = queue(sessions, home)
    chained = queue(sessions, home, analysis="categorise")
    gap = DoesNotClose(where="layer 1", what="parts", prompt=0, gap=0.5, tolerance=1e-4)
    with monkeypatch.context() as patch:
        patch.setattr(LanguageModel, "prove", raising(gap))
        work(bench, hint=None)
    refused = now(sessions, model)
    assert (refused.proof, refused.proof_reason) == (ProofState.REFUSED, str(gap))
    for each in (run, chained):
        line = detail(sessions, each.id).line
        assert line.state in (RunState.FAILED, RunState.CANCELLED)
        assert str(gap) in (line.reason or "")
    assert detail(sessions, run.id).line.attempt == 1
    with pytest.raises(ModelRefused, match=r"The model 'm' was refused.*headbook models add"):
        queue(sessions, home)
    assert record(folder, sessions, home).proof is ProofState.UNPROVED  # tried once more
    assert queue(sessions, home).id != run.id


def raising(error: Exception) -> object:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


@pytest.mark.parametrize("on_the_spot", [False, True])
def test_sizes_that_the_config_does_not_say_are_checked_again_once_it_is_proved(
    model_folder: Path,
    sessions: Sessions,
    home: Home,
    bench: WorkerContext,
    tmp_path: Path,
    on_the_spot: bool,
) -> None:
    """Keys of 20 dimensions, of which the config says 8; then as if it had said 50."""
    folder = tmp_path / "latent"
    save_latent(folder)
    shutil.copy(model_folder / "tokenizer.json", folder)
    model = record(folder, sessions, home)
    assert model.d_head == 8
    with transaction(sessions) as session:
        session.execute(update(ModelRow).values(d_head=50))
    with needing.registered():
        low, high = (
            queue(sessions, home, analysis="sizes", parameters={"rank": rank}) for rank in (20, 30)
        )
        if on_the_spot:
            models.add_model(
                str(folder), name="m", dtype="float32", home=home, roots=(), sessions=sessions
            )
        work(bench, hint=None)
    assert now(sessions, model).d_head == 20
    assert detail(sessions, low.id).line.done == 4
    line = detail(sessions, high.id).line
    assert line.state is RunState.FAILED
    assert (line.reason or "").startswith("rank: 30 is more than the 20 dimensions of a head.")


def test_a_proof_goes_to_one_worker_and_after_its_lease_to_another(
    folder: Path, sessions: Sessions, home: Home
) -> None:
    model = record(folder, sessions, home)
    lost = begin(sessions, "w1")
    assert waiting(sessions) == (False, 0)
    with transaction(sessions) as session:
        assert proofs.claim(session, worker="w2", lease=60) is None
        proofs.heartbeat(session, lost, lease=60, done=0)
        past = text("clock_timestamp() - interval '1 second'")
        row = update(ModelRow).where(ModelRow.id == model.id)
        session.execute(row.values(proof_expires_at=past))
    taken = begin(sessions, "w2")
    assert taken.epoch > lost.epoch
    with transaction(sessions) as session:
        proofs.refuse(session, lost, reason="too late")
        proofs.retry(session, lost, reason="too late")
        proofs.too_small(session, lost, worker="w1", reason="too late")
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        proofs.proved(session, lost)
    with pytest.raises(LeaseLost), transaction(sessions) as session:
        proofs.heartbeat(session, lost, lease=60, done=0)
    assert now(sessions, model).proof is ProofState.PROVING
    with transaction(sessions) as session:
        proofs.proved(session, taken)
    assert now(sessions, model).proof is ProofState.PROVED


def test_a_model_whose_proof_ends_its_workers_is_refused(
    folder: Path, sessions: Sessions, home: Home
) -> None:
    model = record(folder, sessions, home)
    for _ in range(proofs.MOST_ATTEMPTS):
        begin(sessions, lease=-1)
    with transaction(sessions) as session:
        assert proofs.claim(session, worker="w1", lease=60) is None
    seen = now(sessions, model)
    assert (seen.proof, seen.proof_reason) == (
        ProofState.REFUSED,
        "its proof has ended 3 workers",
    )


def test_a_proof_that_is_released_costs_no_attempt_and_one_that_fails_does(
    folder: Path, sessions: Sessions, home: Home
) -> None:
    model = record(folder, sessions, home)
    for _ in range(5):
        claimed = begin(sessions)
        with transaction(sessions) as session:
            proofs.release(session, claimed, reason="stopped")
    for _ in range(proofs.MOST_ATTEMPTS):
        assert now(sessions, model).proof is ProofState.UNPROVED
        claimed = begin(sessions)
        with transaction(sessions) as session:
            proofs.retry(session, claimed, reason="stalled")
    assert now(sessions, model).proof is ProofState.REFUSED


def test_a_worker_without_the_files_leaves_the_proof_to_others(
    folder: Path, sessions: Sessions, home: Home, bench: WorkerContext, tmp_path: Path
) -> None:
    model = record(folder, sessions, home)
    folder.rename(tmp_path / "elsewhere")
    work(bench, hint=None)
    seen = now(sessions, model)
    assert seen.proof is ProofState.UNPROVED
    assert (seen.proof_reason or "").startswith("w1: ")
    (tmp_path / "elsewhere").rename(folder)
    work(bench, hint=None)
    assert now(sessions, model).proof is ProofState.UNPROVED  # not this one, for some seconds
    work(replace(bench, name="w2", no_proof_before=0.0), hint=None)
    assert now(sessions, model).proof is ProofState.PROVED


def test_a_proof_goes_to_workers_with_the_memory_for_it(
    folder: Path, sessions: Sessions, home: Home
) -> None:
    model = record(folder, sessions, home)
    with transaction(sessions) as session:
        for name, memory in (("small", 16), ("large", 80)):
            workers.seen(session, name=name, host="h", pid=1, device="cpu")
            session.get_one(WorkerRow, name).memory = memory * 2**30
    claimed = begin(sessions, "small")
    with transaction(sessions) as session:
        proofs.too_small(session, claimed, worker="small", reason="oom: too big")
    assert waiting(sessions, "small") == (False, 0)
    assert waiting(sessions, "large") == (True, 0)
    claimed = begin(sessions, "large")
    with transaction(sessions) as session:
        proofs.too_small(session, claimed, worker="large", reason="oom: too big")
    seen = now(sessions, model)
    assert seen.proof is ProofState.REFUSED
    assert (seen.proof_reason or "").startswith(
        "oom: too big. It needs more than 80 GB of memory, and the largest worker of the last "
        "hour, large, has 80 GB."
    )


def test_a_lease_is_renewed_while_a_model_is_proved(
    folder: Path,
    sessions: Sessions,
    home: Home,
    bench: WorkerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that takes longer to load than a lease lasts."""
    model = record(folder, sessions, home)
    bench.limits = Limits(lease=2, heartbeat=0.2)
    first: list[str] = []
    whole = LanguageModel.prove

    def slow(lm: LanguageModel, ids: object) -> float:
        first.append(expiry(sessions, model))
        while expiry(sessions, model) == first[0]:
            pass
        return whole(lm, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageModel, "prove", slow)
    work(bench, hint=None)
    assert now(sessions, model).proof is ProofState.PROVED
    assert first


def expiry(sessions: Sessions, model: Model) -> str:
    with transaction(sessions) as session:
        return str(session.get_one(ModelRow, model.id).proof_expires_at)


def test_a_proved_model_is_shown_as_loaded_before_its_proof_ends(
    folder: Path,
    sessions: Sessions,
    home: Home,
    bench: WorkerContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a worker that spreads over this GPU would load its own model beside this one."""
    record(folder, sessions, home)
    with transaction(sessions) as session:
        workers.seen(session, name="w1", host="h", pid=1, device="cpu")
    shown: list[str | None] = []
    end = proofs.proved

    def proved(session: Session, claim: ProofClaim) -> None:
        shown.append(session.get_one(WorkerRow, "w1").loaded_model)
        end(session, claim)

    monkeypatch.setattr(proofs, "proved", proved)
    work(bench, hint=None)
    assert shown == ["m"]
