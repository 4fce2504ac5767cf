"""What an analysis hands back: a number for each prompt, unless it says that it skipped it."""

import numpy as np
import pytest

from analyses.quantities import Quantity
from analyses.results import (
    MODEL,
    Component,
    Derived,
    Kind,
    Measured,
    NamedTensor,
    NotANumber,
    ScoreKey,
    WrongLength,
)

KEY = ScoreKey(Component(kind=Kind.HEAD, layer=1, index=3), Quantity("ratio"))
OTHER = ScoreKey(MODEL, Quantity("accuracy"))
NUMBERS = (4, 5, 6)


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_it(value: float) -> None:
    measured = Measured(scores={OTHER: vector(1, 1, 1), KEY: vector(1, value, 2)})
    with pytest.raises(
        NotANumber, match=rf"returned {value} for score 'ratio' of L01.H03 of prompt"
    ):
        measured.check(NUMBERS)
    Measured(scores=measured.scores, skipped={KEY: np.array([0, 1, 0], bool)}).check(NUMBERS)


def test_a_ratio_of_nothing_by_nothing_is_no_skipped_prompt() -> None:
    with np.errstate(invalid="ignore"):
        ratio = vector(1, 0, 2) / vector(2, 0, 2)
    with pytest.raises(NotANumber, match=r"returned nan for score 'ratio' of L01.H03 of prompt 5,"):
        Measured(scores={KEY: ratio}).check(NUMBERS)


def test_what_is_said_of_other_prompts_is_refused() -> None:
    measured = Measured(scores={KEY: vector(1, 2, 3)}, skipped={KEY: np.zeros(2, bool)})
    with pytest.raises(WrongLength, match="for 3 prompts"):
        measured.check(NUMBERS)


def test_a_tensor_has_a_number_everywhere_but_where_it_says() -> None:
    rows = np.array([[1, np.nan], [1, 2], [np.nan, np.nan]], dtype=np.float32)
    short, gone = np.array([[0, 1], [0, 0], [0, 0]], bool), np.array([[0], [0], [1]], bool)
    for missing, prompt in ((None, 4), (short, 6), (gone, 4)):
        tensor = NamedTensor(rows, ("prompt", "key"), missing=missing)
        with pytest.raises(NotANumber, match=f"for tensor 'rows' of prompt {prompt},"):
            Measured(scores={}, tensors={"rows": tensor}).check(NUMBERS)
    whole = NamedTensor(rows, ("prompt", "key"), missing=short | gone)
    Measured(scores={}, tensors={"rows": whole}).check(NUMBERS)


def test_what_is_skipped_stays_so_when_pieces_are_joined() -> None:
    one = Measured(
        scores={KEY: vector(1)},
        tensors={"rows": NamedTensor(np.ones((1, 3), np.float32), ("prompt", "key"))},
    )
    other = Measured(
        scores={KEY: vector(np.nan, 2)},
        tensors={"rows": NamedTensor(np.ones((2, 1), np.float32), ("prompt", "key"))},
        skipped={KEY: np.array([True, False])},
    )
    joined = Measured.joined([one, other])
    joined.check(NUMBERS)
    assert joined.left_out(KEY).tolist() == [False, True, False]
    assert joined.tensors["rows"].without_number.tolist() == [
        [False] * 3,
        *[[False, True, True]] * 2,
    ]


def test_what_is_said_of_all_prompts_together_is_a_number() -> None:
    Derived(numbers={KEY: 1.0}).check()
    with pytest.raises(NotANumber, match=r"returned nan for number 'ratio' of L01.H03,"):
        Derived(numbers={KEY: float("nan")}).check()
    basis = NamedTensor(np.array([[1, np.inf]]), ("head", "rank"))
    with pytest.raises(NotANumber, match=r"inf for tensor 'basis' at \(0, 1\),"):
        Derived(tensors={"basis": basis}).check()
