"""The longest prompt that a model can read, found from the tables it looks positions up in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from analyses.engine import lengths, passes
from analyses.prompts.limits import Limits

_LENGTHS = (3, 5, 7)
_NUMBERS = (torch.int64, torch.int32)
_TRAINED = ("max_position_embeddings", "max_seq_len", "max_sequence_length", "n_positions")


class _LookUps(TorchFunctionMode):
    """Records the length of each table, and the highest row that was looked up in it."""

    def __init__(self) -> None:
        super().__init__()
        self.highest: dict[int, tuple[int, int]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.nn.functional.embedding and len(args) > 1:
            self._remember(args[1], args[0])
        elif func is Tensor.__getitem__:
            first = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
            self._remember(args[0], first)
        return func(*args, **(kwargs or {}))

    def _remember(self, table: Tensor, index: Any) -> None:
        if isinstance(index, Tensor) and index.dtype in _NUMBERS and index.numel():
            self.highest[table.data_ptr()] = len(table), int(index.max())


def limits_of(model: PreTrainedModel) -> Limits:
    """The tokens and lengths that the model can read, and was trained to read."""
    most = _table_ends(model)
    config = model.config.get_text_config()
    dynamic = lengths.is_stateful(config)
    if dynamic:
        most = min(filter(None, (most, lengths.limit_of(config))))
    named = (getattr(config, name, None) for name in _TRAINED)
    trained = next((value for value in named if isinstance(value, int)), None)
    rows = len(cast(Any, model).get_input_embeddings().weight)
    return Limits(
        n_embeddings=rows,
        max_positions=most,
        trained_positions=None if most is not None else trained,
    )


@torch.no_grad()
def _table_ends(model: PreTrainedModel) -> int | None:
    """The longest prompt with a row for each position in every table of positions.

    In a prompt that repeats one token, only positions make a longer prompt look up further rows.
    Some families skip the first rows.
    """
    device = cast(Any, model).get_input_embeddings().weight.device
    token = 1 if model.config.get_text_config().pad_token_id != 1 else 2
    tables = []
    for length in _LENGTHS:
        with _LookUps() as looked_up:
            passes.plain(model, torch.full((1, length), token, device=device))
        # A table of positions has the same size for every length; intermediate tensors do not.
        tables.append(
            {
                (table, rows, rows - (highest - (length - 1)))
                for table, (rows, highest) in looked_up.highest.items()
            }
        )
    return min((end for *_, end in set.intersection(*tables)), default=None)
