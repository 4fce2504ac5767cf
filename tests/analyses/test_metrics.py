import math

import numpy as np
import pytest
import torch

from analyses import metrics

LABELS = torch.tensor([[math.log(6.0), math.log(2.0), math.log(1.0)]])
LOGSUMEXP = torch.tensor([math.log(12.0)])  # three more options hold the other quarter
CORRECT = torch.tensor([[False, True, False]])
TWO = torch.tensor([[True, False, True]])
RANDOM = torch.Generator().manual_seed(0)


def test_the_metrics_of_a_prompt_on_paper() -> None:
    expected = {
        metrics.logit_diff(LABELS, CORRECT): math.log(2) - math.log(6) / 2,
        metrics.label_loss(LABELS, CORRECT): math.log(9 / 2),
        metrics.loss(LABELS, CORRECT, LOGSUMEXP): math.log(12 / 2),
        metrics.label_mass(LABELS, LOGSUMEXP): 9 / 12,
        metrics.prob_diff(LABELS, CORRECT, LOGSUMEXP): 2 / 12 - 7 / 12,
        metrics.accuracy(LABELS, CORRECT): 0.0,
        metrics.accuracy(LABELS, torch.tensor([[True, False, False]])): 1.0,
    }
    for measured, value in expected.items():
        assert measured.item() == pytest.approx(value, abs=1e-6)


def test_the_metrics_of_a_prompt_with_two_correct_labels_on_paper() -> None:
    expected = {
        metrics.logit_diff(LABELS, TWO): math.log(6) / 2 - math.log(2),
        metrics.label_loss(LABELS, TWO): math.log(9 / 7),
        metrics.loss(LABELS, TWO, LOGSUMEXP): math.log(12 / 7),
        metrics.prob_diff(LABELS, TWO, LOGSUMEXP): 7 / 12 - 2 / 12,
        metrics.accuracy(LABELS, TWO): 1.0,
    }
    for measured, value in expected.items():
        assert measured.item() == pytest.approx(value, abs=1e-6)


def test_the_logit_difference_does_not_see_what_all_labels_share() -> None:
    for correct in (CORRECT, TWO):
        moved = metrics.logit_diff(LABELS + 100, correct)
        torch.testing.assert_close(moved, metrics.logit_diff(LABELS, correct), atol=1e-5, rtol=0)


def test_labels_that_tie_share_the_answer_wherever_they_stand() -> None:
    labels = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0]])
    expected = torch.tensor([[0, 0.5, 0.5, 0], [0.25] * 4, [0, 0, 0, 1]])
    torch.testing.assert_close(metrics.answer(labels), expected)
    for place in range(4):
        correct = torch.eye(4, dtype=torch.bool)[place].expand(3, 4)
        torch.testing.assert_close(metrics.accuracy(labels, correct), expected[:, place])
    both = torch.tensor([True, True, False, False]).expand(3, 4)
    assert metrics.accuracy(labels, both).tolist() == [0.5, 0.5, 0.0]


def drawn(n_labels: int, prompts: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of labels, some of which tie, and the log of the sum over a larger vocabulary."""
    labels = (torch.randn(prompts, n_labels, generator=RANDOM) * 3).round(decimals=1)
    others = torch.randn(prompts, 50, generator=RANDOM)
    return labels, torch.cat([labels, others], 1).logsumexp(-1)


@pytest.mark.parametrize(("n_labels", "n_correct"), [(2, 1), (4, 2), (5, 4), (100, 37)])
def test_any_number_of_correct_labels_gives_what_plain_sums_give(n_labels, n_correct) -> None:
    labels, logsumexp = drawn(n_labels)
    correct = torch.rand(labels.shape, generator=RANDOM).argsort(-1) < n_correct
    found = metrics.of_logits(labels, correct, logsumexp)
    for row, (x, chosen, whole) in enumerate(
        zip(labels.double().numpy(), correct.numpy(), logsumexp.double().numpy(), strict=True)
    ):
        p, among = np.exp(x - whole), np.exp(x) / np.exp(x).sum()
        largest = np.flatnonzero(x == x.max())
        expected = {
            "logit_diff": x[chosen].mean() - x[~chosen].mean(),
            "accuracy": chosen[largest].mean(),
            "label_loss": -np.log(among[chosen].sum()),
            "label_mass": p.sum(),
            "loss": -np.log(p[chosen].sum()),
            "prob_diff": p[chosen].sum() - p[~chosen].sum(),
        }
        assert {name: values[row].item() for name, values in found.items()} == pytest.approx(
            expected, abs=2e-5
        )


@pytest.mark.parametrize("n_labels", [*range(2, 12), 50, 99, 100])
def test_one_correct_label_gives_to_the_last_bit_what_its_own_formulas_give(n_labels) -> None:
    """Those by which the numbers of multiple choice were stored, with an index of the label."""
    labels, logsumexp = drawn(n_labels)
    index = torch.randint(n_labels, (len(labels), 1), generator=RANDOM)
    weights = torch.full(labels.shape, -1.0 / (n_labels - 1)).scatter(1, index, 1.0)
    of_correct = labels.gather(1, index)[:, 0]
    largest = labels == labels.amax(-1, keepdim=True)
    shares = largest.float() / largest.sum(-1, keepdim=True)
    expected = {
        "logit_diff": torch.einsum("bk,bk->b", labels.double(), weights.double()).float(),
        "accuracy": shares.gather(1, index)[:, 0],
        "label_loss": labels.logsumexp(-1) - of_correct,
        "label_mass": (labels.logsumexp(-1) - logsumexp).exp(),
        "loss": logsumexp - of_correct,
    }
    correct = torch.zeros(labels.shape, dtype=torch.bool).scatter(1, index, True)
    torch.testing.assert_close(metrics.contrast(correct), weights, atol=0, rtol=0)
    found = metrics.of_logits(labels, correct, logsumexp)
    assert found.keys() - expected.keys() == {"prob_diff"}
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=0, rtol=0)


def test_probabilities_that_are_tiny_or_nearly_one_do_not_overflow() -> None:
    labels = torch.tensor([[500.0, -500.0, -500.0]])
    found = metrics.of_logits(labels, CORRECT, labels.logsumexp(-1))
    assert all(values.isfinite().all() for values in found.values())
    assert (found["prob_diff"].item(), found["loss"].item()) == (-1.0, 1000.0)
