"""The models in a worker's memory, within a budget; the least recently used are dropped first."""

import gc
from collections import OrderedDict

import psutil
import torch

from analyses.language_model import LanguageModel
from tracker.domain import Model

SHARE = 0.25  # of the device's memory, if no budget is given


class LoadedModels:
    """Models of at most `budget` bytes of weights together; a larger model is loaded alone."""

    def __init__(self, budget: int | None = None) -> None:
        self._budget = budget
        self._by_id: OrderedDict[int, tuple[Model, LanguageModel]] = OrderedDict()

    @property
    def ids(self) -> list[int]:
        """The most recently used first."""
        return [*reversed(self._by_id)]

    @property
    def names(self) -> list[str]:
        """The most recently used first."""
        return [self._by_id[model_id][0].name for model_id in self.ids]

    @property
    def last_used(self) -> LanguageModel | None:
        return self._by_id[self.ids[0]][1] if self._by_id else None

    def get(self, model: Model) -> LanguageModel | None:
        """The model if it is in memory; this counts as a use."""
        if model.id not in self._by_id:
            return None
        self._by_id.move_to_end(model.id)
        return self._by_id[model.id][1]

    def make_room(self, size: int, device: str) -> None:
        """Drop models until `size` more bytes fit into the budget, or no model is left."""
        budget = memory_of(device) * SHARE if self._budget is None else self._budget
        before = len(self._by_id)
        while self._by_id and self._held() + size > budget:
            self._by_id.popitem(last=False)
        if len(self._by_id) < before:
            _release_memory()

    def add(self, model: Model, lm: LanguageModel) -> None:
        self._by_id[model.id] = model, lm

    def drop_all(self) -> None:
        self._by_id.clear()
        _release_memory()

    def _held(self) -> int:
        return sum(lm.n_bytes for _, lm in self._by_id.values())


def memory_of(device: str) -> int:
    """Bytes of memory that a model can use: of one device, or of all GPUs with "auto"."""
    if device == "cpu" or not torch.cuda.is_available():
        return psutil.virtual_memory().total
    gpus = range(torch.cuda.device_count()) if device == "auto" else [torch.device(device)]
    return sum(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
