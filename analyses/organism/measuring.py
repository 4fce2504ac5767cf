"""What a language model makes of a held-out distribution."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from analyses import metrics
from analyses.language_model import LanguageModel
from analyses.prompts import distributions, tokenization
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.plans import Plan

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
    built = distributions.build(spec)
    right = 0
    for plan in built.plans:
        likely = [_mean_log_probability(lm, *each) for each in _continued(tokenizer, plan, spec)]
        right += max(range(len(likely)), key=likely.__getitem__) == plan.asked.correct
    return right / len(built.plans)


def _continued(
    tokenizer: Tokenizer, plan: Plan, spec: DistributionSpec
) -> Iterator[tuple[list[int], int]]:
    """For each option, the tokens up to its end, and how many of them are its own."""
    from analyses.prompts import templates

    words = templates.wording(spec.template, separators=spec.separators, prelude=spec.prelude)
    before = words.prelude.replace("{topic}", plan.asked.item.topic)
    before += f"{plan.asked.item.question}\nAnswer:"
    known = len(tokenizer.encode(before).ids)
    for option in plan.asked.options:
        ids = tokenizer.encode(f"{before} {option}").ids
        yield ids, len(ids) - known


@torch.no_grad()
def _mean_log_probability(lm: LanguageModel, ids: Sequence[int], last: int) -> float:
    logits: Float[Tensor, "pos d_vocab"] = lm.model(torch.tensor([ids]), use_cache=False).logits[0]
    each = logits.log_softmax(-1)[-last - 1 : -1].gather(1, torch.tensor(ids[-last:])[:, None])
    return each.mean().item()
