"""Measurements of a language model on held-out distributions."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from analyses import knowledge, metrics
from analyses.language_model import LanguageModel
from analyses.prompts import distributions, tokenization
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.examples import examples

_BATCH_SIZE = 64  # prompts


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
    for start in range(0, len(prompts), _BATCH_SIZE):
        batch = lm.batch(prompts[start : start + _BATCH_SIZE])
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
    """How often the correct option's text is the likeliest after the question alone."""
    prompts = examples(tokenizer, distributions.build(spec).prompts)
    return float(knowledge.content_accuracy(lm, prompts, batch_size=_BATCH_SIZE).mean())
