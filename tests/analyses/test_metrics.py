import math

import pytest
import torch

from analyses import metrics

LABELS = torch.tensor([[math.log(6.0), math.log(2.0), math.log(1.0)]])
LOGSUMEXP = torch.tensor([math.log(12.0)])  # three more options hold the other quarter
CORRECT = torch.tensor([1])


def test_the_metrics_of_a_prompt_on_paper() -> None:
    expected = {
        metrics.logit_diff(LABELS, CORRECT): math.log(2) - math.log(6) / 2,
        metrics.label_loss(LABELS, CORRECT): math.log(9 / 2),
        metrics.loss(LABELS, CORRECT, LOGSUMEXP): math.log(12 / 2),
        metrics.label_mass(LABELS, LOGSUMEXP): 9 / 12,
        metrics.accuracy(LABELS, CORRECT): 0.0,
        metrics.accuracy(LABELS, torch.tensor([0])): 1.0,
    }
    for measured, value in expected.items():
        assert measured.item() == pytest.approx(value, abs=1e-6)


def test_the_logit_difference_does_not_see_what_all_labels_share() -> None:
    moved = metrics.logit_diff(LABELS + 100, CORRECT)
    torch.testing.assert_close(moved, metrics.logit_diff(LABELS, CORRECT), atol=1e-5, rtol=0)


def test_labels_that_tie_share_the_answer_wherever_they_stand() -> None:
    labels = torch.tensor([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0]])
    expected = torch.tensor([[0, 0.5, 0.5, 0], [0.25] * 4, [0, 0, 0, 1]])
    torch.testing.assert_close(metrics.answer(labels), expected)
    for place in range(4):
        correct = torch.full((3,), place)
        torch.testing.assert_close(metrics.accuracy(labels, correct), expected[:, place])
