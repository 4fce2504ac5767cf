"""Attention of each head from the final position: the pattern's row, summed over groups of keys."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from analyses import effects, streaming
from analyses.errors import Refused
from analyses.prompts.places import Places
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Params, analysis
from analyses.results import MODEL, Component, Kind, Measured, NamedTensor, ScoreKey
from analyses.stored import LABEL_METRICS, ScoreDescription, TensorDescription, under

if TYPE_CHECKING:
    from torch import Tensor

    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

CONVENTIONS = {
    "position": "the query is the last token of the prompt; the keys are all tokens up to itself",
    "weight": "a, the softmax after soft-cap and mask, summed over keys; with an attention sink "
    "the weights of all keys sum to less than 1",
    "value_weighted": "a_j ‖m v_j W_O[h]‖ summed over keys, per query head; v includes the value "
    "bias; the output bias and a post-norm are left out; m is the residual multiplier",
    "entropy": "of the row, in nats; a sink counts as one more key",
    "condition": "keys=G: the group of keys summed over",
    "parting": "of questions: labels, contents, brackets, ends, question, last, rest; of "
    "completions: every span by its name, last, rest. A token belongs to the first matching group, "
    "so the groups add up to the whole row",
    "contents": "from the first to the last token of each option's text",
    "brackets": "the token after each label, unless it belongs to an option's text",
    "ends": "the last token of each option's line, unless it belongs to an option's text",
    "last": "from after the last option's end, or the last span, up to and including the final "
    "position",
    "rest": "everything else: special tokens, a prelude, solved questions, text in between",
    "correct_label, other_labels": "the tokens of the labels; of completions, of the spans that "
    "are the text of a correct candidate, and of those that are another candidate's. A text may "
    "have none",
    "label_i": "the label of the i-th option, from 0",
    "rows": "a of every head by key, from the prompt's first token; NaN after its last",
}


GROUPS = (
    *("labels", "contents", "brackets", "ends", "question", "last", "rest"),
    *("correct_label", "other_labels", "correct_content", "label_{i}"),
)
_SUMS = (
    ScoreDescription(
        metric="weight",
        meaning="attention weight from the final position on a group of keys",
        unit="share",
        where=((Kind.HEAD, ""),),
    ),
    ScoreDescription(
        metric="value_weighted",
        meaning="the same with each key's weight times the norm of its value vector after W_O",
        where=((Kind.HEAD, ""),),
    ),
)
_OF_QUESTIONS = tuple(
    replace(each, meaning=f"{each.meaning}; of questions on all of these groups") for each in _SUMS
)
STORES = (
    *under(_OF_QUESTIONS, *({"keys": group} for group in GROUPS)),
    *(
        replace(
            each,
            meaning=f"{each.meaning}; of completions on every span, and last, rest, correct_label "
            "and other_labels as of questions",
            varied=({"keys": "{span}"},),
            sure=False,
        )
        for each in _SUMS
    ),
    ScoreDescription(
        metric="entropy",
        meaning="of the whole row: 0 if a head attends to one key only",
        unit="nats",
        where=((Kind.HEAD, ""),),
    ),
    *LABEL_METRICS,
)
ARRAYS = (
    TensorDescription(
        name="rows",
        axes=("prompt", "component", "key"),
        meaning="every head's weight on every token from the prompt's first; NaN after its last",
    ),
)


class UnequalSpans(Refused):
    def __init__(self, one: Places, other: Places) -> None:
        super().__init__(
            f"Attention is summed over the same spans of every prompt, and prompt {one.number} has "
            f"{_listed(one)}, prompt {other.number} {_listed(other)}. Name the same spans in every "
            f"prompt, or none."
        )


def _listed(places: Places) -> str:
    return ", ".join(places.sites) or "no spans"


class AttentionParams(Params):
    """Whether rows of attention are stored."""

    keep_rows: bool = Field(
        True,
        title="Keep rows",
        description="Store every head's whole row of attention for every prompt: four bytes per "
        "prompt, head and token.",
    )

    def check_prompts(self, model: ModelFacts, prompts: Sequence[Places]) -> None:
        """Raises `UnequalSpans`."""
        for places in prompts:
            if set(places.sites) != set(prompts[0].sites):
                raise UnequalSpans(prompts[0], places)


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
    """What each head attends to from the final position: labels or spans, question, the rest."""
    from analyses.engine.recording import Keep

    def measure(batch: "Sequence[Example]") -> Measured:
        return _measure(lm, batch, params)

    return streaming.streamed(lm, prompts, params, progress, measure, keep=Keep.PREFIX)


class _Groups(NamedTuple):
    names: tuple[str, ...]
    members: "Tensor"  # [prompt, group, key], 1 if the key belongs to the group, else 0


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
    by_prompt = [prompt.places.key_groups(prompt.correct) for prompt in prompts]
    names = tuple(by_prompt[0])
    members = input_ids.new_zeros(len(prompts), len(names), input_ids.shape[1]).double()
    for row, groups in enumerate(by_prompt):
        for column, name in enumerate(names):
            members[row, column, sorted(groups[name])] = 1
    return _Groups(names, members)


def _of_layer(
    layer: int, row: "Tensor", norms: "Tensor", groups: _Groups
) -> dict[ScoreKey, NDArray[np.float32]]:
    """All scores of the layer's heads; `row` and `norms` are [prompt, head, key]."""
    from analyses.engine.patterns import entropy

    entropies = entropy(row).T.cpu().numpy()
    summed = {"weight": _summed(row, groups), "value_weighted": _summed(row * norms, groups)}
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
    """Sum values [prompt, head, key] over the keys of each group: [group, head, prompt]."""
    from einops import einsum

    summed = einsum(
        values.double(), groups.members, "prompt head key, prompt group key -> group head prompt"
    )
    result: NDArray[np.float32] = summed.float().cpu().numpy()
    return result


def _named(rows: Sequence[NDArray[np.float32]], final: NDArray[np.int64]) -> NamedTensor:
    """The rows [prompt, head, key] of all layers, NaN after each prompt's end."""
    values = np.concatenate(rows, axis=1)
    padding = np.arange(values.shape[2]) > final[:, None, None]
    heads = (
        Component(kind=Kind.HEAD, layer=layer, index=index).label
        for layer, of_layer in enumerate(rows)
        for index in range(of_layer.shape[1])
    )
    return NamedTensor(
        np.where(padding, np.float32(np.nan), values),
        ("prompt", "component", "key"),
        {"component": tuple(heads)},
        missing=padding,
    )
