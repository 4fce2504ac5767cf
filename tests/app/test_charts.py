"""The map of heads: one cell per head, white at 0."""

import pytest

from app import charts


@pytest.fixture
def heads(score):
    return [score(0, 0, 0.5), score(0, 1, -2.0), score(1, 0, None), score(1, 1, 0.0)]


@pytest.fixture
def chart(heads):
    return charts.head_map(heads, (2, 2), title="logit_attribution").to_dict()


def measured(chart):
    return chart["layer"][1]["encoding"]


def cells(chart, layer):
    """The rows behind one of the chart's two layers, by head."""
    rows = chart["datasets"][chart["layer"][layer]["data"]["name"]]
    return {row["head"]: row for row in rows}


def test_every_head_is_a_row_with_its_label(heads):
    frame = charts.head_frame(heads)
    assert list(frame["head"]) == ["L00.H00", "L00.H01", "L01.H00", "L01.H01"]
    assert list(frame["layer"]) == [0, 0, 1, 1]
    assert frame["mean"].isna().tolist() == [False, False, True, False]


def test_the_colours_end_equally_far_from_zero(chart):
    assert measured(chart)["color"]["scale"]["domain"] == [-2.0, 2.0]


def test_layer_zero_is_at_the_bottom(chart):
    assert measured(chart)["y"]["scale"]["domain"] == [1, 0]


def test_the_tooltip_names_head_mean_interval_and_number(chart):
    fields = [each["field"] for each in measured(chart)["tooltip"]]
    assert fields == ["head", "mean", "ci_low", "ci_high", "n"]


@pytest.mark.parametrize("mean", [0.0, None])
def test_heads_that_say_nothing_still_make_a_map(score, mean):
    chart = charts.head_map([score(0, 0, mean)], (1,), title="nothing").to_dict()
    assert measured(chart)["color"]["scale"]["domain"] == [-1.0, 1.0]


def test_cells_shrink_for_large_models_and_never_vanish(score):
    heads = [score(0, index, 1.0) for index in range(128)]
    wide = charts.head_map(heads, (128,), title="wide").to_dict()
    assert wide["width"]["step"] == charts.MIN_CELL


def test_the_grid_is_the_models_whatever_was_measured(score):
    """Heads 0, 1 and 6 of eight, in layers 0 and 2 of four."""
    subset = [score(0, 0, 0.0), score(0, 1, 1.0), score(2, 6, -1.0)]
    chart = charts.head_map(subset, (8,) * 4, title="some").to_dict()
    for layer in chart["layer"]:
        assert layer["encoding"]["x"]["scale"]["domain"] == list(range(8))
        assert layer["encoding"]["y"]["scale"]["domain"] == [3, 2, 1, 0]
    assert chart["width"]["step"] * 8 <= charts.MAX_WIDTH
    assert len(cells(chart, 0)) == 4 * 8 - 3


def test_a_head_that_was_not_measured_is_unlike_one_of_zero(score):
    chart = charts.head_map([score(0, 0, 0.0), score(0, 1, None)], (3,), title="some").to_dict()
    assert list(cells(chart, 1)) == ["L00.H00"]
    missing = {head: row["why"] for head, row in cells(chart, 0).items()}
    assert missing == {"L00.H01": "no value", "L00.H02": "not measured"}
    assert chart["layer"][0]["mark"]["fill"] == charts.MISSING


def test_heads_that_a_layer_does_not_have_are_not_said_to_be_missing(score):
    missing = charts.missing_frame([score(0, 0, 1.0)], (2, 1))
    assert missing["head"].tolist() == ["L00.H01", "L01.H00"]
