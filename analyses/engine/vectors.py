"""Queries, keys and values, before rotary embedding or after it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine.anatomy import Anatomy
from analyses.engine.interventions import Site
from analyses.engine.recording import Recorded
from analyses.engine.rotary import AS_SEEN, Frame, find_rotary

At = Sequence[Sequence[int]]  # positions in each prompt, equally many in all


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """In fp32 on the recording's device; keys and values are not repeated for query heads."""

    q: Float[Tensor, "batch layer head d_head"]  # at the final positions
    k: Float[Tensor, "batch layer place kv_head d_head"]
    v: Float[Tensor, "batch layer place kv_head d_value"]


def vectors(anatomy: Anatomy, recorded: Recorded, at: At, *, before_rotary: bool) -> Vectors:
    """Queries at the final positions, keys and values at `at`; needs `Keep.PREFIX`."""
    places = torch.tensor(at, device=recorded.final.device)
    final = recorded.final[:, None]
    q, k, v = [], [], []
    for layer, reads in enumerate(recorded.reads):
        frame = _frame(anatomy, recorded, layer, before_rotary=before_rotary)
        q.append(_framed(reads.q[:, None], frame, final)[:, 0])
        k.append(_framed(_at(reads.key, places), frame, places))
        v.append(_at(reads.value, places).to(final.device, torch.float32))
    return Vectors(q=torch.stack(q, 1), k=torch.stack(k, 1), v=torch.stack(v, 1))


def queries(
    anatomy: Anatomy, recorded: Recorded, at: At, *, before_rotary: bool
) -> Float[Tensor, "batch layer place head d_head"]:
    """Queries at any positions; needs `Keep.POSITIONS`."""
    places = torch.tensor(at, device=recorded.final.device)
    by_layer = []
    for layer, reads in enumerate(recorded.reads):
        frame = _frame(anatomy, recorded, layer, before_rotary=before_rotary)
        every = reads.everywhere[Site.Q].transpose(1, 2)
        by_layer.append(_framed(_at(every, places), frame, places))
    return torch.stack(by_layer, 1)


def _frame(anatomy: Anatomy, recorded: Recorded, layer: int, *, before_rotary: bool) -> Frame:
    return find_rotary(anatomy.layers[layer], recorded, layer) if before_rotary else AS_SEEN


def _at(
    heads: Float[Tensor, "batch head pos d"], places: Int[Tensor, "batch place"]
) -> Float[Tensor, "batch place head d"]:
    rows = torch.arange(len(heads), device=heads.device)[:, None]
    return heads.transpose(1, 2)[rows, places.to(heads.device)]


def _framed(
    x: Float[Tensor, "batch place head d"], frame: Frame, places: Int[Tensor, "batch place"]
) -> Float[Tensor, "batch place head d"]:
    """Every head's vectors in the frame."""
    x = x.to(places.device, torch.float32)
    return torch.stack([frame.back(of_head, places) for of_head in x.unbind(2)], dim=2)
