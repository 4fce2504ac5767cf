"""How likely a language model finds texts that continue a context."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from analyses.engine import memory
from analyses.engine.anatomy import Anatomy
from analyses.engine.recording import Keep

Ids = Sequence[int]


def mean_log_probs(
    model: PreTrainedModel, anatomy: Anatomy, pairs: Sequence[tuple[Ids, Ids]], *, budget: int
) -> Float[Tensor, " pair"]:
    """log p(continuation | context) per token of the continuation, in nats, for each pair.

    As many pairs at a time as fit into the budget, in bytes.
    """
    means = [_together(model, anatomy, some) for some in _cut(anatomy, pairs, budget)]
    return torch.cat(means) if means else torch.zeros(0)


def _cut(
    anatomy: Anatomy, pairs: Sequence[tuple[Ids, Ids]], budget: int
) -> Iterator[list[tuple[Ids, Ids]]]:
    """Neighbours whose logits fit, in three copies, beside what a pass of their tokens takes."""
    per_logits = 3 * 4 * len(anatomy.unembedding.weight)
    together: list[tuple[Ids, Ids]] = []
    for pair in pairs:
        more = [*together, pair]
        longest = max(len(context) + len(continuation) for context, continuation in more)
        predicted = sum(len(continuation) for _, continuation in more)
        tokens = memory.recordable(
            anatomy, Keep.WRITES, n_kv_heads=anatomy.n_heads, longest=longest, budget=budget
        )
        if together and (len(more) * longest > tokens or 2 * predicted * per_logits > budget):
            yield together
            more = [pair]
        together = more
    if together:
        yield together


@torch.no_grad()
def _together(
    model: PreTrainedModel, anatomy: Anatomy, pairs: Sequence[tuple[Ids, Ids]]
) -> Float[Tensor, " pair"]:
    """Only the positions that predict a continuation's token are unembedded."""
    device = anatomy.unembedding.weight.device
    ids = [torch.tensor([*context, *continuation]) for context, continuation in pairs]
    lengths = torch.tensor([len(each) for each in ids])
    padded = pad_sequence(ids, batch_first=True).to(model.device)
    steps = torch.arange(padded.shape[1])
    starts = torch.tensor([len(context) for context, _ in pairs])
    # A token is predicted one position before its own.
    predicts = (steps >= starts[:, None] - 1) & (steps < lengths[:, None] - 1)
    rows, positions = predicts.nonzero(as_tuple=True)
    with _only(anatomy.unembedding, rows, positions):
        logits = model(
            input_ids=padded,
            attention_mask=(steps < lengths[:, None]).long().to(padded.device),
            use_cache=False,
        ).logits[0]
    targets = padded.cpu()[rows, positions + 1]
    log_probs = logits.to(device, torch.float32).log_softmax(-1).cpu()
    of_targets = log_probs[torch.arange(len(targets)), targets].double()
    sums = torch.zeros(len(ids), dtype=torch.float64).index_add(0, rows, of_targets)
    return (sums / (lengths - starts)).float()


@contextmanager
def _only(
    unembedding: nn.Module, rows: Int[Tensor, " place"], positions: Int[Tensor, " place"]
) -> Iterator[None]:
    """Inside the block, only these positions of these rows are unembedded, as one row of all."""

    def select(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        resid = args[0]
        chosen = resid[rows.to(resid.device), positions.to(resid.device)]
        return (chosen[None], *args[1:])

    handle = unembedding.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
