"""What a language model makes of a held-out distribution."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from analyses import metrics
from analyses.language_model import LanguageModel
from analyses.prompts import distributions, templates, tokenization
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.separators import AUTO

_AT_ONCE = 64  # prompts


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Means over the prompts of a distribution."""

    spec: DistributionSpec
    prompts: int
    accuracy: float
    label_mass: float


def measure(lm: LanguageModel, tokenizer: Tokenizer, spec: DistributionSpec) -> Figure:
    """Accuracy and label mass over the spec's prompts."""
    prompts = tokenization.tokenize_all(tokenizer, distributions.build(spec).prompts)
    accuracy, mass = [], []
    for start in range(0, len(prompts), _AT_ONCE):
        batch = lm.batch(prompts[start : start + _AT_ONCE])
        logits = lm.record(batch).logits
        labels = logits.gather(1, batch.label_ids)
        accuracy.append(metrics.accuracy(labels, batch.correct))
        mass.append(metrics.label_mass(labels, logits.logsumexp(-1)))
    return Figure(
        spec=spec,
        prompts=len(prompts),
        accuracy=torch.cat(accuracy).mean().item(),
        label_mass=torch.cat(mass).mean().item(),
    )


def content_accuracy(lm: LanguageModel, tokenizer: Tokenizer, spec: DistributionSpec) -> float:
    """How often the right option's text is the likeliest after the question alone.

    Likely is what has a high mean log-probability per token.
    """
    prelude = templates.wording(spec.template, separators=AUTO, prelude=spec.prelude).prelude
    right = []
    for plan in distributions.build(spec).plans:
        item = plan.asked.item
        question = f"{prelude.replace('{topic}', item.topic)}{item.question}\nAnswer:"
        known = len(tokenizer.encode(question).ids)
        rows = [tokenizer.encode(f"{question} {option}").ids for option in plan.asked.options]
        likely = _mean_log_probabilities(lm, rows, known)
        right.append(int(likely.argmax()) == plan.asked.correct)
    return sum(right) / len(right)


@torch.no_grad()
def _mean_log_probabilities(
    lm: LanguageModel, rows: Sequence[Sequence[int]], known: int
) -> Float[Tensor, " row"]:
    """Of the tokens of each row that follow those `known`, which all rows begin with."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    own = torch.tensor([[known <= n < len(row) for n in range(1, width)] for row in rows])
    logits: Float[Tensor, "row pos d_vocab"] = lm.model(ids[:, :-1], use_cache=False).logits
    each = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, :, 0]
    return (each * own).sum(1) / own.sum(1)
