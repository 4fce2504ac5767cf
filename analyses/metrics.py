"""Metrics of the label logits at a prompt's final position: docs/methods.md, section 2.

One or several labels of a prompt are correct, and at least one is not: C and the others.
"""

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor


def contrast(correct: Bool[Tensor, "batch label"]) -> Float[Tensor, "batch label"]:
    """The weights u such that x · u = mean(x_k, k ∈ C) − mean(x_k, k ∉ C), [batch, label]."""
    n = correct.sum(-1, keepdim=True)
    return torch.where(correct, 1.0 / n, -1.0 / (correct.shape[1] - n))


def logit_diff(
    labels: Float[Tensor, "batch label"], correct: Bool[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """mean(x_k, k ∈ C) − mean(x_k, k ∉ C)

    >>> logit_diff(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[True, False, False]]))
    tensor([1.5000])
    """
    u = contrast(correct)
    return einsum(labels.double(), u.double(), "batch label, batch label -> batch").float()


def label_loss(
    labels: Float[Tensor, "batch label"], correct: Bool[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """−log Σ softmax(x_1 … x_K)[k], k ∈ C, over the labels only; nats."""
    return labels.logsumexp(-1) - _logsumexp(labels, correct)


def loss(
    labels: Float[Tensor, "batch label"],
    correct: Bool[Tensor, "batch label"],
    logsumexp: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """−log Σ p(label k), k ∈ C, over the whole vocabulary; nats."""
    return logsumexp - _logsumexp(labels, correct)


def label_mass(
    labels: Float[Tensor, "batch label"], logsumexp: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Σ p(label k): whether the model answers with a label at all."""
    return (labels.logsumexp(-1) - logsumexp).exp()


def prob_diff(
    labels: Float[Tensor, "batch label"],
    correct: Bool[Tensor, "batch label"],
    logsumexp: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Σ p(label k), k ∈ C, minus Σ p(label k), k ∉ C, over the whole vocabulary.

    Hanna et al. 2023, arXiv 2305.00586, section 2: the probability difference.
    """
    right, others = _logsumexp(labels, correct), _logsumexp(labels, ~correct)
    return (right - logsumexp).exp() - (others - logsumexp).exp()


def answer(labels: Float[Tensor, "*batch label"]) -> Float[Tensor, "*batch label"]:
    """1 at the largest logit, else 0; labels that tie for the largest share the 1 equally."""
    largest = labels == labels.amax(-1, keepdim=True)
    return largest.float() / largest.sum(-1, keepdim=True)


def accuracy(
    labels: Float[Tensor, "batch label"], correct: Bool[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """The correct labels' share of the answer: 1 if one of them alone has the largest logit."""
    return (answer(labels) * correct).sum(-1)


def of_logits(
    labels: Float[Tensor, "batch label"],
    correct: Bool[Tensor, "batch label"],
    logsumexp: Float[Tensor, " batch"],
) -> dict[str, Float[Tensor, " batch"]]:
    """Every metric of the label logits, by name."""
    return {
        "logit_diff": logit_diff(labels, correct),
        "accuracy": accuracy(labels, correct),
        "label_loss": label_loss(labels, correct),
        "label_mass": label_mass(labels, logsumexp),
        "loss": loss(labels, correct, logsumexp),
        "prob_diff": prob_diff(labels, correct, logsumexp),
    }


def _logsumexp(
    labels: Float[Tensor, "batch label"], chosen: Bool[Tensor, "batch label"]
) -> Float[Tensor, " batch"]:
    """log Σ exp(x_k) over the chosen labels; of one, its logit."""
    return labels.masked_fill(~chosen, -torch.inf).logsumexp(-1)
