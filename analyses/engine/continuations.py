"""Log-probabilities of texts that continue a context."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from analyses.engine import finite, memory, passes, unembedding
from analyses.engine.anatomy import Anatomy
from analyses.engine.batches import Rectangle, rectangle
from analyses.engine.lengths import Lengths
from analyses.engine.outputs import first_tensor
from analyses.engine.recording import Keep

Continuation = tuple[Sequence[int], Sequence[int]]  # tokens of a context and of what follows
Numbered = tuple[int, Continuation]


def mean_log_probs(
    model: PreTrainedModel,
    anatomy: Anatomy,
    pairs: Sequence[Continuation],
    numbers: Sequence[int],
    *,
    budget: int,
) -> Float[Tensor, " pair"]:
    """Mean log p(token | context and earlier tokens) of each continuation, in nats.

    `budget` bounds the memory in bytes. Raises what `passes.through` raises.
    """
    numbered = list(zip(numbers, pairs, strict=True))
    cuts = _cut(anatomy, Lengths.of(model), numbered, budget)
    means = [_mean_log_probs(model, anatomy, some, budget) for some in cuts]
    return torch.cat(means) if means else torch.zeros(0)


def _cut(
    anatomy: Anatomy, lengths: Lengths, pairs: Sequence[Numbered], budget: int
) -> Iterator[list[Numbered]]:
    """Batches of neighbouring pairs that fit into the budget, their targets' rows included."""
    per_target = 3 * 4 * anatomy.unembedding.weight.shape[1]
    batch: list[Numbered] = []
    for pair in pairs:
        extended = [*batch, pair]
        whole = [len(context) + len(continuation) for _, (context, continuation) in extended]
        predicted = sum(len(continuation) for _, (_, continuation) in extended)
        tokens = memory.recordable(anatomy, Keep.WRITES, longest=max(whole), budget=budget)
        full = len(extended) * max(whole) > tokens or 2 * predicted * per_target > budget
        if batch and (full or lengths.must_be_separate(whole[0], whole[-1])):
            yield batch
            extended = [pair]
        batch = extended
    if batch:
        yield batch


@torch.no_grad()
def _mean_log_probs(
    model: PreTrainedModel, anatomy: Anatomy, pairs: Sequence[Numbered], budget: int
) -> Float[Tensor, " pair"]:
    """Holds the final residual only where a token of a continuation is predicted."""
    numbers = [number for number, _ in pairs]
    device = anatomy.final_norm.gain.device  # that of the embedding
    rows = [[*context, *continuation] for _, (context, continuation) in pairs]
    tokens = rectangle(rows, numbers, device=device)
    starts = torch.tensor([len(context) for _, (context, _) in pairs])
    steps, final = torch.arange(tokens.input_ids.shape[1]), tokens.final.cpu()
    predicts = (steps >= starts[:, None] - 1) & (steps < final[:, None])
    row, position = predicts.nonzero(as_tuple=True)
    with _final_resid_at(anatomy, tokens, row, position) as collected:
        passes.through(model, anatomy, tokens)
    resid = collected[0].to(device)
    targets = tokens.input_ids[row.to(device), position.to(device) + 1]
    of_targets = unembedding.label_logits(anatomy, resid, targets[:, None])[:, 0]
    log_probs = (of_targets - unembedding.logsumexp(anatomy, resid, budget)).cpu()
    sums = torch.zeros(len(rows), dtype=torch.float64).index_add(0, row, log_probs.double())
    means = (sums / (final + 1 - starts)).float()
    finite.check(means, numbers, finite.LOGITS, model.dtype)
    return means


@contextmanager
def _final_resid_at(
    anatomy: Anatomy,
    tokens: Rectangle,
    row: Int[Tensor, " place"],
    position: Int[Tensor, " place"],
) -> Iterator[list[Float[Tensor, "place d_model"]]]:
    """Inside the block, the final residual of these positions is collected, in fp32."""
    collected: list[Tensor] = []

    def after_layer(_module: Any, _args: Any, output: Any) -> None:
        resid = first_tensor(output)
        assert resid is not None
        by_position = resid.reshape(*tokens.input_ids.shape, -1)
        collected.append(by_position[row.to(resid.device), position.to(resid.device)].float())

    handle = anatomy.layers[-1].layer.register_forward_hook(after_layer)
    try:
        yield collected
    finally:
        handle.remove()
