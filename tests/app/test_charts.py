"""The map of heads: one cell per head, white at 0."""

import pytest

from app import charts


@pytest.fixture
def heads(score):
    return [score(0, 0, 0.5), score(0, 1, -2.0), score(1, 0, None), score(1, 1, 0.0)]


@pytest.fixture
def chart(heads):
    return charts.head_map(heads, title="logit_attribution").to_dict()


def test_every_head_is_a_row_with_its_label(heads):
    frame = charts.head_frame(heads)
    assert list(frame["head"]) == ["L00.H00", "L00.H01", "L01.H00", "L01.H01"]
    assert list(frame["layer"]) == [0, 0, 1, 1]
    assert frame["mean"].isna().tolist() == [False, False, True, False]


def test_the_colours_end_equally_far_from_zero(chart):
    assert chart["encoding"]["color"]["scale"]["domain"] == [-2.0, 2.0]


def test_layer_zero_is_at_the_bottom(chart):
    assert chart["encoding"]["y"]["sort"] == "descending"


def test_the_tooltip_names_head_mean_interval_and_number(chart):
    fields = [each["field"] for each in chart["encoding"]["tooltip"]]
    assert fields == ["head", "mean", "ci_low", "ci_high", "n"]


@pytest.mark.parametrize("mean", [0.0, None])
def test_heads_that_say_nothing_still_make_a_map(score, mean):
    chart = charts.head_map([score(0, 0, mean)], title="nothing").to_dict()
    assert chart["encoding"]["color"]["scale"]["domain"] == [-1.0, 1.0]


def test_cells_shrink_for_large_models_and_never_vanish(score):
    wide = charts.head_map([score(0, index, 1.0) for index in range(128)], title="wide").to_dict()
    assert wide["width"]["step"] == charts.SMALLEST
