"""A worker and whoever queues a run use the model that was added, or say that it is another now."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_llama import save_tiny_llama

from analyses.checkpoints.contents import Changed
from tracker.database.db import Sessions
from tracker.domain import Model
from tracker.home.home import Home
from tracker.queueing import models
from tracker.queueing.submission import InvalidRequest
from tracker.working.context import WorkerContext

from .conftest import Submit

pytestmark = pytest.mark.attack(33, "files swapped or changed under a fingerprint")


@pytest.fixture
def model(sessions: Sessions, home: Home, tmp_path: Path) -> Model:
    """One whose files this test may change."""
    folder = tmp_path / "mine"
    save_tiny_llama(folder, seed=2)
    return models.add_model(
        str(folder), name="mine", dtype="float32", home=home, roots=(), sessions=sessions
    )


def change_in_place(path: Path, change: Callable[[bytes], bytes]) -> None:
    """The same inode, size and time of its last change."""
    before = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_weights(model: Model, tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "other", seed=1)
    other = (tmp_path / "other" / "model.safetensors").read_bytes()
    change_in_place(Path(model.ref, "model.safetensors"), lambda _before: other)


def test_a_worker_does_not_load_weights_that_were_swapped(
    model: Model, bench: WorkerContext, tmp_path: Path
) -> None:
    swap_weights(model, tmp_path)
    with pytest.raises(Changed, match=f"its fingerprint was {model.fingerprint[:12]}"):
        bench.language_model(model)


def test_a_model_in_a_workers_memory_stays_the_one_that_was_added(
    model: Model, bench: WorkerContext, tmp_path: Path
) -> None:
    lm = bench.language_model(model)
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    swap_weights(model, tmp_path)
    change_in_place(Path(model.ref, "tokenizer.json"), lambda text: text.replace(b'"a"', b'"?"'))
    again = bench.language_model(model)
    assert again.fingerprint == model.fingerprint
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert again.tokenizer.token_to_id("a") is not None


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [("tokenizer.json", b'"a"', b'"?"'), ("config.json", b"1e-06", b"1e-01")],
)
def test_a_run_is_not_queued_with_another_models_files(
    model: Model, submit: Submit, name: str, one: bytes, other: bytes
) -> None:
    submit(model="mine")
    change_in_place(Path(model.ref, name), lambda text: text.replace(one, other))
    with pytest.raises(InvalidRequest, match="has changed since it was submitted"):
        submit(model="mine", seed=7)
