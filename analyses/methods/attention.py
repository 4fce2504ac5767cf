"""Where each head looks from the final position: the pattern's row, summed over groups of keys."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses.prompts.key_groups import key_groups
from analyses.registry import Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.engine.recording import Recorded
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

CONVENTIONS = {
    "position": "the last token of the prompt looks; the keys are all tokens up to itself",
    "weight": "a, the softmax after soft-cap and mask, summed over keys; a sink takes its share, "
    "so that all keys together may hold less than 1",
    "value_weighted": "a_j ‖m v_j W_O[h]‖ summed over keys, per query head; the value bias is "
    "inside v, the output bias is left out, a post-norm comes later, m is the residual multiplier",
    "entropy": "of the row, in nats; what a sink takes counts as one more key",
    "condition": "keys=G: the group of keys that is summed over",
    "parting": "labels, brackets, contents, ends, question, last, rest: a token belongs to the "
    "first of these that claims it, so they add up to the whole row",
    "brackets": "the token after each label, which closes it",
    "contents": "from the first to the last token of each option's text",
    "ends": "the last token of each option's line, where it is no token of the option's text",
    "last": "from behind the last option's end up to and including the final position",
    "rest": "everything else: special tokens, a prelude, solved questions, what stands between",
    "label_i": "the label of the i-th option, from 0",
    "rows": "a of every head by key, from the prompt's first token; NaN behind its last",
}


class AttentionParams(Params):
    """Which of it is stored."""

    keep_rows: bool = Field(
        True,
        title="Keep rows",
        description="Whether every head's whole row is stored for every prompt: a tensor of four "
        "bytes for each prompt, head and token.",
    )


@analysis(
    "attention",
    version=1,
    params=AttentionParams,
    conventions=CONVENTIONS,
    headline=("weight", "keys=correct_label"),
)
def attention(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: AttentionParams,
    progress: Callable[[int], None],
) -> Measured:
    """Where each head looks from the final position: labels, option texts, question, the rest."""
    from analyses.engine.recording import Keep

    measured = []
    done = 0
    for together in lm.micro_batches(prompts, params.batch_size, keep=Keep.PREFIX):
        measured.append(_measure(lm, together, params))
        done += len(together)
        progress(done)
    return _put_together(_heads(lm), measured)


class _Groups(NamedTuple):
    names: tuple[str, ...]
    members: "Tensor"  # [prompt, group, key], 1 where the key belongs to the group


class _Heads(NamedTuple):
    scores: dict[tuple[str, str], NDArray[np.float32]]  # (metric, condition) -> [prompt, head]
    rows: NDArray[np.float32]  # [prompt, head, key], NaN behind a prompt's end


class _Batch(NamedTuple):
    of_model: dict[str, NDArray[np.float32]]  # metric -> [prompt]
    of_heads: dict[tuple[str, str], NDArray[np.float32]]  # (metric, condition) -> [prompt, head]
    rows: NDArray[np.float32] | None  # [prompt, head, key], where they are kept


def _heads(lm: "LanguageModel") -> list[Component]:
    return [
        Component(kind=Kind.HEAD, layer=layer, index=head)
        for layer in range(lm.shape.n_layers)
        for head in range(lm.shape.n_heads)
    ]


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]", params: AttentionParams) -> _Batch:
    from analyses import metrics
    from analyses.engine.recording import Keep

    batch = lm.batch(prompts)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    labels = recorded.logits.gather(1, batch.label_ids)
    of_model = metrics.of_logits(labels, batch.correct, recorded.logits.logsumexp(-1))
    groups = _groups(prompts, batch.input_ids)
    layers = [_of_layer(lm, recorded, layer, groups) for layer in range(lm.shape.n_layers)]
    return _Batch(
        {metric: values.cpu().numpy() for metric, values in of_model.items()},
        {
            what: np.concatenate([layer.scores[what] for layer in layers], axis=1)
            for what in layers[0].scores
        },
        np.concatenate([layer.rows for layer in layers], axis=1) if params.keep_rows else None,
    )


def _groups(prompts: "Sequence[Example]", input_ids: "Tensor") -> _Groups:
    every = [key_groups(prompt.places, prompt.correct) for prompt in prompts]
    names = tuple(every[0])
    members = input_ids.new_zeros(len(prompts), len(names), input_ids.shape[1]).double()
    for row, groups in enumerate(every):
        for column, name in enumerate(names):
            members[row, column, sorted(groups[name])] = 1
    return _Groups(names, members)


def _of_layer(lm: "LanguageModel", recorded: "Recorded", layer: int, groups: _Groups) -> _Heads:
    from analyses.engine.patterns import entropy

    (row,) = lm.attention_rows(recorded, layer)
    sizes = lm.value_norms(recorded, layer)
    scores = {
        **_summed("weight", row, groups),
        **_summed("value_weighted", row * sizes, groups),
        ("entropy", ""): entropy(row).cpu().numpy(),
    }
    behind = np.arange(row.shape[-1]) > recorded.final.cpu().numpy()[:, None, None]
    return _Heads(scores, np.where(behind, np.float32(np.nan), row.cpu().numpy()))


def _summed(
    metric: str, values: "Tensor", groups: _Groups
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """[prompt, head] of each group: what the heads' keys in it add up to."""
    from einops import einsum

    summed = einsum(
        values.double(), groups.members, "prompt head key, prompt group key -> group prompt head"
    )
    of_groups = summed.float().cpu().numpy()
    return {
        (metric, f"keys={name}"): vectors
        for name, vectors in zip(groups.names, of_groups, strict=True)
    }


def _put_together(heads: Sequence[Component], batches: Sequence[_Batch]) -> Measured:
    scores = {
        ScoreKey(component=MODEL, metric=metric): np.concatenate(
            [batch.of_model[metric] for batch in batches]
        )
        for metric in batches[0].of_model
    }
    for metric, condition in batches[0].of_heads:
        whole = np.concatenate([batch.of_heads[metric, condition] for batch in batches])
        for head, vector in zip(heads, whole.T, strict=True):
            key = ScoreKey(component=head, metric=metric, condition=condition)
            scores[key] = np.ascontiguousarray(vector)
    rows = [batch.rows for batch in batches if batch.rows is not None]
    if not rows:
        return Measured(scores=scores)
    names = {"component": tuple(head.label for head in heads)}
    tensor = NamedTensor(_as_wide(rows), ("prompt", "component", "key"), names)
    return Measured(scores=scores, tensors={"rows": tensor})


def _as_wide(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Rows of all prompts, as wide as the widest, NaN behind the end of the others."""
    widest = max(each.shape[2] for each in rows)
    return np.concatenate(
        [
            np.pad(each, ((0, 0), (0, 0), (0, widest - each.shape[2])), constant_values=np.nan)
            for each in rows
        ]
    )
