"""A worker keeps the models it used last, as many as its budget allows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_llama import save_tiny_llama

from analyses.checkpoints import folders
from analyses.checkpoints.sizes import n_weights
from analyses.language_model import LanguageModel
from tracker.database.db import Sessions
from tracker.domain import Model
from tracker.home.home import Home
from tracker.queueing import models
from tracker.working.context import WorkerContext
from tracker.working.loaded_models import LoadedModels, memory_of


@pytest.fixture
def three(sessions: Sessions, tmp_path: Path, home: Home) -> list[Model]:
    """Three small models of the same size."""

    def add(seed: int) -> Model:
        folder = tmp_path / f"tiny-{seed}"
        save_tiny_llama(folder, seed=seed)
        return models.add_model(
            str(folder), name=f"m{seed}", dtype="float32", home=home, roots=(), sessions=sessions
        )

    return [add(seed) for seed in range(3)]


@pytest.fixture
def size(model_folder: Path) -> int:
    """Bytes of one of them in memory."""
    return n_weights(folders.read(model_folder)) * torch.float32.itemsize


def test_the_size_of_a_model_is_known_before_it_is_loaded(model_folder: Path, size: int) -> None:
    lm = LanguageModel.load(model_folder)
    assert size == sum(each.nbytes for each in lm.model.parameters())
    assert 0 <= lm.n_bytes - size < 4096  # tables of the rotary embedding


def test_within_the_budget_models_stay_and_beyond_it_the_least_recently_used_leaves(
    bench: WorkerContext, three: list[Model], size: int
) -> None:
    bench.loaded = LoadedModels(int(2.5 * size))
    first = bench.language_model(three[0])
    bench.language_model(three[1])
    assert bench.language_model(three[0]).model is first.model  # the same in memory
    assert bench.loaded.names == ["m0", "m1"]
    bench.language_model(three[2])
    assert bench.loaded.names == ["m2", "m0"]
    assert bench.loaded.ids == [three[2].id, three[0].id]


def test_a_model_larger_than_the_budget_is_there_alone(
    bench: WorkerContext, three: list[Model], size: int
) -> None:
    bench.loaded = LoadedModels(size // 2)
    for model in three:
        bench.language_model(model)
        assert bench.loaded.names == [model.name]


def test_a_model_that_stays_counts_the_memory_that_is_free_now(
    bench: WorkerContext, three: list[Model]
) -> None:
    first = bench.language_model(three[0])
    bench.loaded.add(three[0], replace(first, memory_budget=1))
    assert bench.language_model(three[0]).memory_budget > 1
    bench.memory_budget = 10**9
    bench.loaded.add(three[0], replace(first, memory_budget=10**9))
    assert bench.language_model(three[0]).memory_budget == 10**9


def test_dropping_all_leaves_none(bench: WorkerContext, three: list[Model]) -> None:
    bench.language_model(three[0])
    bench.loaded.drop_all()
    assert bench.loaded.ids == []
    assert bench.loaded.last_used is None


def test_without_a_gpu_the_memory_is_that_of_the_machine() -> None:
    assert memory_of("cpu") > 2**30
    if not torch.cuda.is_available():
        assert memory_of("auto") == memory_of("cpu")
