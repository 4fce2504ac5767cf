"""Metrics of the label logits at a prompt's final position: docs/methods.md, section 2."""

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor


def contrast(correct: Int[Tensor, " batch"], n_labels: int) -> Float[Tensor, "batch label"]:
    """The weights u such that x · u = x_c − mean(x_k, k ≠ c), [batch, label]."""
    weights = torch.full((len(correct), n_labels), -1.0 / (n_labels - 1), device=correct.device)
    return weights.scatter(1, correct[:, None], 1.0)


def logit_diff(
    labels: Float[Tensor, "batch label"], correct: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """x_c − mean(x_k, k ≠ c)

    >>> logit_diff(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([1.5000])
    """
    u = contrast(correct, labels.shape[1])
    return einsum(labels.double(), u.double(), "batch label, batch label -> batch").float()


def label_loss(
    labels: Float[Tensor, "batch label"], correct: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """−log softmax(x_1 … x_K)[c], over the labels only; nats."""
    return labels.logsumexp(-1) - _of_correct(labels, correct)


def loss(
    labels: Float[Tensor, "batch label"],
    correct: Int[Tensor, " batch"],
    logsumexp: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """−log p(label c), over the whole vocabulary; nats."""
    return logsumexp - _of_correct(labels, correct)


def label_mass(
    labels: Float[Tensor, "batch label"], logsumexp: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Σ p(label k): whether the model answers with a label at all."""
    return (labels.logsumexp(-1) - logsumexp).exp()


def answer(labels: Float[Tensor, "*batch label"]) -> Float[Tensor, "*batch label"]:
    """1 at the largest logit, else 0; labels that tie for the largest share the 1 equally."""
    largest = labels == labels.amax(-1, keepdim=True)
    return largest.float() / largest.sum(-1, keepdim=True)


def accuracy(
    labels: Float[Tensor, "batch label"], correct: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The correct label's share of the answer: 1 if it alone has the largest logit."""
    return _of_correct(answer(labels), correct)


def of_logits(
    labels: Float[Tensor, "batch label"],
    correct: Int[Tensor, " batch"],
    logsumexp: Float[Tensor, " batch"],
) -> dict[str, Float[Tensor, " batch"]]:
    """Every metric of the label logits, by name."""
    return {
        "logit_diff": logit_diff(labels, correct),
        "accuracy": accuracy(labels, correct),
        "label_loss": label_loss(labels, correct),
        "label_mass": label_mass(labels, logsumexp),
        "loss": loss(labels, correct, logsumexp),
    }


def _of_correct(
    labels: Float[Tensor, "batch label"], correct: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    return labels.gather(1, correct[:, None])[:, 0]
