"""Where each head looks from the final position: the pattern's row, summed over groups of keys."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import effects, streaming
from analyses.prompts.key_groups import key_groups
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey
from analyses.stored import LABEL_METRICS, Stored, StoredArray

if TYPE_CHECKING:
    from torch import Tensor

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
    "parting": "labels, contents, brackets, ends, question, last, rest: a token belongs to the "
    "first of these that claims it, so they add up to the whole row",
    "contents": "from the first to the last token of each option's text",
    "brackets": "the token after each label, where it is no token of an option's text",
    "ends": "the last token of each option's line, where it is no token of an option's text",
    "last": "from behind the last option's end up to and including the final position",
    "rest": "everything else: special tokens, a prelude, solved questions, what stands between",
    "label_i": "the label of the i-th option, from 0",
    "rows": "a of every head by key, from the prompt's first token; NaN behind its last",
}


GROUPS = (
    *("labels", "contents", "brackets", "ends", "question", "last", "rest"),
    *("correct_label", "other_labels", "correct_content", "label_{i}"),
)
STORES = (
    Stored(
        metric="weight",
        meaning="attention weight from the final position on a group of keys",
        unit="share",
        where=((Kind.HEAD, ""),),
        varied=tuple({"keys": group} for group in GROUPS),
    ),
    Stored(
        metric="value_weighted",
        meaning="the same, each key's weight times the size of what the head would write of it",
        where=((Kind.HEAD, ""),),
        varied=tuple({"keys": group} for group in GROUPS),
    ),
    Stored(
        metric="entropy",
        meaning="of the whole row: 0 where a head looks at one key only",
        unit="nats",
        where=((Kind.HEAD, ""),),
    ),
    *LABEL_METRICS,
)
ARRAYS = (
    StoredArray(
        name="rows",
        axes=("prompt", "component", "key"),
        meaning="every head's weight on every token from the prompt's first; NaN behind its last",
    ),
)


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
    headline=Quantity("weight", varied={"keys": "correct_label"}),
    stores=STORES,
    arrays=ARRAYS,
    plots={"groups": "analyses.pictures.attention:groups"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: attention patterns of output nodes; "
    "Kobayashi et al. 2020, arXiv 2004.10102: norms of weighted values",
)
def attention(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: AttentionParams,
    progress: Callable[[int], None],
) -> Measured:
    """Where each head looks from the final position: labels, option texts, question, the rest."""
    from analyses.engine.recording import Keep

    def measure(together: "Sequence[Example]") -> Measured:
        return _measure(lm, together, params)

    return streaming.streamed(lm, prompts, params, progress, measure, keep=Keep.PREFIX)


class _Groups(NamedTuple):
    names: tuple[str, ...]
    members: "Tensor"  # [prompt, group, key], 1 where the key belongs to the group


def _measure(
    lm: "LanguageModel", prompts: "Sequence[Example]", params: AttentionParams
) -> Measured:
    from analyses.engine.recording import Keep

    batch = lm.batch(prompts)
    recorded = lm.record(batch, keep=Keep.PREFIX)
    groups = _groups(prompts, batch.input_ids)
    scores = {
        ScoreKey(MODEL, Quantity(metric)): values
        for metric, values in effects.of_recording(recorded, batch).items()
    }
    rows = []
    for layer in range(lm.shape.n_layers):
        (row,) = lm.attention_rows(recorded, layer)
        scores |= _of_layer(layer, row, lm.value_norms(recorded, layer), groups)
        rows.append(row.cpu().numpy())
    if not params.keep_rows:
        return Measured(scores=scores)
    return Measured(scores=scores, tensors={"rows": _named(rows, recorded.final.cpu().numpy())})


def _groups(prompts: "Sequence[Example]", input_ids: "Tensor") -> _Groups:
    every = [key_groups(prompt.places, prompt.correct) for prompt in prompts]
    names = tuple(every[0])
    members = input_ids.new_zeros(len(prompts), len(names), input_ids.shape[1]).double()
    for row, groups in enumerate(every):
        for column, name in enumerate(names):
            members[row, column, sorted(groups[name])] = 1
    return _Groups(names, members)


def _of_layer(
    layer: int, row: "Tensor", sizes: "Tensor", groups: _Groups
) -> dict[ScoreKey, NDArray[np.float32]]:
    """All scores of the layer's heads; row and sizes are [prompt, head, key]."""
    from analyses.engine.patterns import entropy

    entropies = entropy(row).T.cpu().numpy()
    summed = {"weight": _summed(row, groups), "value_weighted": _summed(row * sizes, groups)}
    scores = {}
    for index, of_head in enumerate(entropies):
        head = Component(kind=Kind.HEAD, layer=layer, index=index)
        scores[ScoreKey(head, Quantity("entropy"))] = of_head
        for metric, by_group in summed.items():
            for name, values in zip(groups.names, by_group[:, index], strict=True):
                key = ScoreKey(head, Quantity(metric, varied={"keys": name}))
                scores[key] = values
    return scores


def _summed(values: "Tensor", groups: _Groups) -> NDArray[np.float32]:
    """[group, head, prompt]: what the keys of each group add up to."""
    from einops import einsum

    summed = einsum(
        values.double(), groups.members, "prompt head key, prompt group key -> group head prompt"
    )
    found: NDArray[np.float32] = summed.float().cpu().numpy()
    return found


def _named(rows: Sequence[NDArray[np.float32]], final: NDArray[np.int64]) -> NamedTensor:
    """The rows [prompt, head, key] of all layers, NaN behind each prompt's end."""
    whole = np.concatenate(rows, axis=1)
    behind = np.arange(whole.shape[2]) > final[:, None, None]
    heads = (
        Component(kind=Kind.HEAD, layer=layer, index=index).label
        for layer, of_layer in enumerate(rows)
        for index in range(of_layer.shape[1])
    )
    return NamedTensor(
        np.where(behind, np.float32(np.nan), whole),
        ("prompt", "component", "key"),
        {"component": tuple(heads)},
        missing=behind,
    )
