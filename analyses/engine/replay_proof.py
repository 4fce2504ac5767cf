"""The proof that replays equal plain forward passes with hooks, for changes in several layers."""

from collections.abc import Callable, Iterator, Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from analyses.engine import patterns
from analyses.engine.anatomy import Anatomy
from analyses.engine.batches import Batch
from analyses.engine.closure import PROOF, check_closure
from analyses.engine.interventions import SOURCE, ZERO, Intervention, Patch, Path, Site
from analyses.engine.plain_passes import Change, plain_logits
from analyses.engine.recording import Recorded

EARLIER = 2  # a position that is not the last
ROUNDED = 4  # times the tolerance in half precision, where the last bit may decide the expert
Replay = Callable[[Sequence[Intervention]], Float[Tensor, "intervention label"]]
Cases = Sequence[tuple[Intervention, int]]  # with the row of the plain passes that is right


def largest_gap(
    model: PreTrainedModel,
    anatomy: Anatomy,
    batch: Batch,
    recorded: Recorded,
    replay: Replay,
    *,
    tolerance: float,
    budget: int,
) -> float:
    """Of the first prompt of a batch that was recorded with `Keep.POSITIONS`.

    Interventions that change nothing, and some that do, start at the first, the middle and the last
    layer: all together; layer by layer from the last; and along the direct path. Then the attention
    rows of every layer, times the values, are compared with its heads' outputs. Raises
    `DoesNotClose`.
    """
    last = int(batch.final[0])
    changes = list(_changes(anatomy, last))
    ids = batch.input_ids[0, : last + 1]
    plain = plain_logits(model, anatomy, ids, changes)
    allowed = tolerance * (ROUNDED if model.dtype.itemsize < 4 else 1)

    def gap(cases: Cases, right: Tensor) -> float:
        rows = [row for _, row in cases]
        return check_closure(
            replay([intervention for intervention, _ in cases]),
            right[rows][:, batch.label_ids[0]],
            where="loading",
            what="the logits of replayed changes and of plain forward passes with the same changes",
            numbers=(PROOF,) * len(rows),
            tolerance=allowed,
        )

    cases = list(_cases(changes, last, len(batch.numbers)))
    gaps = [gap(cases, plain.total)]
    for layer in sorted({change.layer for change in changes}, reverse=True):
        some = [each for each in reversed(cases) if each[0].patches[0].layer == layer]
        gaps.append(gap(some, plain.total))
    direct = [
        (Intervention((_zero(change, None),), Path.DIRECT), row)
        for row, change in enumerate(changes)
        if change.position == last
    ]
    gaps.append(gap(direct, plain.direct))
    for layer in range(len(anatomy.layers)):
        gaps.append(_gap_of_rows(anatomy, recorded, layer, tolerance=tolerance, budget=budget))
    return max(gaps)


def _changes(anatomy: Anatomy, last: int) -> Iterator[Change]:
    n_layers = len(anatomy.layers)
    for number in sorted({0, n_layers // 2, n_layers - 1}):
        layer = anatomy.layers[number]
        yield Change(layer=number, head=0, position=last)
        yield Change(layer=number, head=layer.shape.n_heads - 1, position=EARLIER)
        if layer.mlp:
            yield Change(layer=number, head=None, position=last)


def _cases(
    changes: Sequence[Change], last: int, prompts: int
) -> Iterator[tuple[Intervention, int]]:
    for row, change in enumerate(changes):
        at = None if change.position == last else ((change.position,),) * prompts
        unchanged = Patch(site=Site.RESID_PRE, layer=change.layer, value=SOURCE, at=at)
        yield Intervention((_zero(change, at),)), row
        yield Intervention((unchanged,)), len(changes)


def _zero(change: Change, at: tuple[tuple[int, ...], ...] | None) -> Patch:
    site = Site.MLP_OUT if change.head is None else Site.Z
    return Patch(site=site, layer=change.layer, head=change.head, value=ZERO, at=at)


@torch.no_grad()
def _gap_of_rows(
    anatomy: Anatomy, recorded: Recorded, layer: int, *, tolerance: float, budget: int
) -> float:
    """Every head's output must be its row of attention times the values."""
    rows = patterns.rows(anatomy, recorded, layer, budget=budget)[0]
    shape, value = anatomy.layers[layer].shape, recorded.reads[layer].value.to(rows)
    read = value[:, [shape.kv_head(head) for head in range(shape.n_heads)]]
    z = einsum(rows, read, "batch head key, batch head key d -> batch head d")
    return check_closure(
        z.flatten(1),
        recorded.layers[layer].z.flatten(1),
        where=f"layer {layer}",
        what="the rows of attention times the values and the outputs of the heads",
        numbers=recorded.numbers,
        tolerance=tolerance,
    )
