"""The label logits under any number of interventions, without a forward pass for each one.

The effects that analyses compute from them are defined in docs/methods.md, section 5.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyses.engine import branches, finite, memory, unembedding
from analyses.engine.anatomy import Anatomy
from analyses.engine.interventions import (
    READS,
    Constant,
    FromSource,
    ImpossiblePatch,
    Intervention,
    Patch,
    Site,
)
from analyses.engine.recording import Keep, Recorded
from analyses.engine.replay_context import ReplayContext
from analyses.engine.suffixes import Suffix


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The logits at the final positions, under each intervention and for each prompt."""

    interventions: tuple[Intervention, ...]
    numbers: tuple[int, ...]  # the prompts'
    labels: Float[Tensor, "intervention batch label"]  # logits after a soft-cap, in fp32
    logsumexp: Float[Tensor, "intervention batch"] | None  # over the vocabulary, where requested


@torch.no_grad()
def replay(
    anatomy: Anatomy,
    recorded: Recorded,
    interventions: Sequence[Intervention],
    label_ids: Int[Tensor, "batch label"],
    *,
    source: Recorded | None = None,
    whole_vocabulary: bool = False,
    as_changes: bool = False,
    budget: int,
    progress: Callable[[int], None] | None = None,
) -> Replayed:
    """Equal to a full forward pass for every intervention, at the cost of decoding one token.

    With `as_changes`, the change that each one makes is added to the recorded run: equal but for
    rounding, of which an intervention that changes nothing then has none.
    `budget` bounds the memory in bytes, the recordings included. After every chunk `progress` gets
    the number of interventions that are done; an exception that it raises ends the replay.
    """
    patches = [patch for each in interventions for patch in each.patches]
    for patch in patches:
        check(patch, anatomy, recorded, source)
    context = ReplayContext.of(anatomy, recorded, source, patches)
    left = budget - memory.held(recorded, source)
    compute = branches.changed_resid if as_changes else branches.final_resid
    order, labels, sums = [], [], []
    baselines = len(anatomy.layers) if as_changes else 0
    for chunk in _chunks(anatomy, recorded, interventions, left, baselines):
        memory.give_back(recorded.final.device)
        resid = compute(context, [interventions[number] for number in chunk])
        labels.append(unembedding.label_logits(anatomy, resid, label_ids))
        if whole_vocabulary:
            sums.append(unembedding.logsumexp(anatomy, resid, left))
        order += chunk
        if progress is not None:
            progress(len(order))
    back = torch.tensor(order, dtype=torch.long).argsort()
    empty = recorded.logits.new_empty(0, *label_ids.shape)
    replayed = Replayed(
        interventions=tuple(interventions),
        numbers=recorded.numbers,
        labels=torch.cat([empty, *labels])[back],
        logsumexp=torch.cat([empty[..., 0], *sums])[back] if whole_vocabulary else None,
    )
    _check_finite(replayed, anatomy.unembedding.weight.dtype)
    return replayed


def _check_finite(replayed: Replayed, dtype: torch.dtype) -> None:
    """Raises `NotFinite` for the first intervention under which a logit is not finite."""
    sums = replayed.labels.sum(-1)
    if replayed.logsumexp is not None:
        sums = sums + replayed.logsumexp
    for intervention, row in zip(replayed.interventions, sums.cpu(), strict=True):
        names = ", ".join(patch.name for patch in intervention.patches[:1])
        finite.check(row, replayed.numbers, f"under the patch of {names}", dtype)


def _chunks(
    anatomy: Anatomy,
    recorded: Recorded,
    interventions: Sequence[Intervention],
    left: int,
    baselines: int,
) -> Iterator[list[int]]:
    """Numbers of interventions to run together: those that begin at the same positions.

    Leaves room for up to `baselines` more branches, and never for more than half.
    """

    def begins(number: int) -> tuple[int, ...]:
        moving = [patch for patch in interventions[number].patches if patch.moves]
        return tuple(Suffix.of(moving, recorded.final).start.tolist()) if moving else ()

    def lowest(number: int) -> int:
        return min((patch.layer for patch in interventions[number].patches), default=-1)

    numbers = range(len(interventions))
    start = {number: begins(number) for number in numbers}
    order = sorted(numbers, key=lambda number: (start[number], lowest(number)))
    for _, group in groupby(order, key=start.__getitem__):
        chunk = list(group)
        patches = [patch for number in chunk for patch in interventions[number].patches]
        suffix = Suffix.of(patches, recorded.final).width
        size = memory.branches_at_once(anatomy, recorded, suffix=suffix, left=left)
        size = max(1, size - min(baselines, (size + 1) // 2))
        for first in range(0, len(chunk), size):
            yield chunk[first : first + size]


def check(patch: Patch, anatomy: Anatomy, recorded: Recorded, source: Recorded | None) -> None:
    """Raises `ImpossiblePatch` where the model has no such site or a recording no such value."""
    _check_component(patch, anatomy)
    needed = Keep.POSITIONS if patch.moves else Keep.PREFIX
    _check_detail(patch, recorded, needed, "the recording")
    rows = len(recorded.numbers)
    if patch.at is not None:
        final = recorded.final.tolist()
        if len(patch.at) != rows or not all(
            0 <= position <= final[row] for row, at in enumerate(patch.at) for position in at
        ):
            raise ImpossiblePatch(
                patch.name,
                f"`at` is {patch.at}, and the prompts' last positions are {final}",
                "Give each prompt its own positions",
            )
    if isinstance(patch.value, Constant):
        _check_constant(patch, patch.value, recorded)
    if not isinstance(patch.value, FromSource):
        return
    if source is None:
        raise ImpossiblePatch(patch.name, "its value comes from a source", "Give `source`")
    if patch.moves or patch.site in READS or patch.site is Site.Q:
        _check_detail(patch, source, needed, "the source")
    if len(source.numbers) != rows:
        raise ImpossiblePatch(
            patch.name,
            f"the source has {len(source.numbers)} prompts, the recording {rows}",
            "Record a source for each prompt",
        )
    if patch.value.at is not None:
        _check_source_positions(patch, patch.value.at)
    if (patch.at is not None or patch.site in READS) and not _reaches(patch, recorded, source):
        raise ImpossiblePatch(
            patch.name,
            "a source prompt ends before a position that is patched",
            "Give `at`, positions that both prompts have",
        )


def _check_component(patch: Patch, anatomy: Anatomy) -> None:
    n_layers = len(anatomy.layers)
    if not 0 <= patch.layer < n_layers:
        raise ImpossiblePatch(
            patch.name,
            f"the model has {n_layers} layers, counted from 0",
            "Choose one of them",
        )
    n_heads = anatomy.layers[patch.layer].shape.n_heads
    if not 0 <= (patch.head or 0) < n_heads:
        raise ImpossiblePatch(
            patch.name,
            f"layer {patch.layer} has {n_heads} heads, counted from 0",
            "Choose one of them",
        )


def _check_source_positions(patch: Patch, there: tuple[tuple[int, ...], ...]) -> None:
    here = [len(at) for at in patch.at or ()]
    if [len(at) for at in there] != here or any(position < 0 for at in there for position in at):
        raise ImpossiblePatch(
            patch.name,
            f"its value comes from the positions {there} of the source, the patch is at {patch.at}",
            "Give as many of the source's positions as the patch has, prompt by prompt",
        )


def _check_constant(patch: Patch, constant: Constant, recorded: Recorded) -> None:
    layer = recorded.layers[patch.layer]
    width = layer.z.shape[-1] if patch.head is not None else layer.resid_pre.shape[-1]
    shapes = {(), (1,), (width,), (len(recorded.numbers), width)}
    if patch.site in (Site.Q, Site.K) and recorded.reads:
        width = recorded.reads[patch.layer].q.shape[-1]
        shapes = {(), (1,), (width,), (len(recorded.numbers), width)}
    if tuple(constant.value.shape) not in shapes:
        raise ImpossiblePatch(
            patch.name,
            f"its value has the shape {tuple(constant.value.shape)}",
            f"Give {width} numbers, or as many for each of the {len(recorded.numbers)} prompts",
        )


def _check_detail(patch: Patch, recorded: Recorded, needed: Keep, what: str) -> None:
    detail = Keep.WRITES
    if recorded.reads:
        detail = Keep.POSITIONS if recorded.reads[0].everywhere else Keep.PREFIX
    if detail < needed:
        raise ImpossiblePatch(
            patch.name,
            f"{what} was made with keep=Keep.{detail.name}",
            f"Record with keep=Keep.{needed.name}",
        )


def _reaches(patch: Patch, recorded: Recorded, source: Recorded) -> bool:
    """Whether the source has all positions that the patch reads."""
    last = recorded.final.tolist()
    assert isinstance(patch.value, FromSource)
    at = patch.value.at or patch.at
    if at is not None:
        last = [max(each, default=0) for each in at]
    return all(one <= other for one, other in zip(last, source.final.tolist(), strict=True))
