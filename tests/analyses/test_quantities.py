"""What was varied has one text, which is read back as the same values; a quantity is a value."""

import json
import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_connection import connect

from analyses.quantities import Quantity, Varied, spelled

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="/=\0"), min_size=1, max_size=9)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = WORDS | NUMBERS | st.booleans()


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_the_text_of_values_is_read_as_those_values(values) -> None:
    varied = Varied(values)
    read = Varied.read(varied.text)
    assert read == varied
    assert {name: spelled(each) for name, each in read.items()} == {
        name: spelled(each) for name, each in varied.items()
    }


@given(st.text(max_size=30) | st.text("ab1.-/=", max_size=12))
def test_any_text_is_read_and_written_as_it_is(text) -> None:
    assert Varied.read(text).text == text


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_values_come_back_from_json_with_their_types(values) -> None:
    varied = Varied(values)
    back = Varied(json.loads(json.dumps(dict(varied))))
    assert [(name, type(each), each) for name, each in back.items()] == [
        (name, type(each), each) for name, each in varied.items()
    ]


def test_postgres_spells_values_as_they_are_spelled_here(database_url: str) -> None:
    values: list[Any] = [
        "a b",
        "ä=/",
        0,
        -7,
        10**19,
        0.5,
        1e-7,
        1.5e-300,
        123456.789,
        2.5e300,
        True,
        False,
    ]
    varied = [Varied({"of": each}) for each in values]
    with connect(database_url) as connection:
        rows = connection.execute(
            "SELECT each ->> 'of' FROM jsonb_array_elements(%s::jsonb) AS each",
            [json.dumps(list(map(dict, varied)))],
        ).fetchall()
    assert [each.text for each in varied] == [text for (text,) in rows]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("logit_diff", {"of": "logit_diff"}),
        ("keys=label_0", {"keys": "label_0"}),
        ("position=2", {"position": 2}),
        ("share=0.5", {"share": 0.5}),
        ("q/placebo", {"of": "q", "variant": "placebo"}),
        (
            "loss/mutation=shuffled/confined",
            {"of": "loss", "mutation": "shuffled", "variant": "confined"},
        ),
        ("a=1/b=true", {"b": True, "a": 1}),
    ],
)
def test_texts_are_those_that_are_stored(text: str, values: dict[str, Any]) -> None:
    assert Varied(values).text == text
    assert dict(Varied.read(text)) == values


def test_numbers_of_numpy_are_numbers_and_whole_ones_integers() -> None:
    given: dict[str, Any] = {"a": np.int64(3), "b": np.float32(0.5), "c": 2.0}
    varied = Varied(given)
    assert [(each, type(each)) for each in varied.values()] == [(3, int), (0.5, float), (2, int)]


@pytest.mark.parametrize(
    "values", [{"": 1}, {"A b": 1}, {"a": ""}, {"a": float("nan")}, {"a": None}, {"a": [1]}, {3: 1}]
)
def test_what_has_no_text_is_refused_by_its_name(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Use a"):
        Varied(values)


def test_a_quantity_is_a_value_that_cannot_change() -> None:
    one = Quantity("loss", "q", {"placebo": "random"})
    for same in (Quantity("loss", "q", Varied.read("placebo=random")), deepcopy(one)):
        assert (same, hash(same)) == (one, hash(one))
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.at_any_site == Quantity("loss", varied=one.varied) != one
    assert str(one) == "loss q placebo=random"
    assert sorted([one, Quantity("loss", "q"), Quantity("accuracy")])[2] == one
    with pytest.raises(AttributeError):
        one.metric = "accuracy"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        one.varied.text = ""
    with pytest.raises(TypeError):
        one.varied["placebo"] = "other_tokens"  # type: ignore[index]


def test_a_later_change_of_what_it_was_made_from_changes_nothing() -> None:
    given_values = {"of": "loss"}
    quantity = Quantity("total_effect", varied=given_values)
    given_values["of"] = "accuracy"
    assert quantity.condition == "loss"
