"""Every kind of parameter is a field and a widget that keep its bounds, its default, its words."""

from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError
from streamlit.testing.v1 import AppTest

from analyses import registry
from analyses.methods.attribution import AttributionParams
from analyses.prompts.spec import PARTS, DistributionSpec
from app import data
from app.form_fields import FieldKind, FormField, fields_of


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    depth: int = 1


class Everything(BaseModel):
    count: int = Field(8, ge=1, le=256, title="How many", description="Counted at a time.")
    above: int = Field(3, gt=2, lt=9)
    share: float = Field(0.5, ge=0, le=1)
    small: float = Field(1e-5, gt=0)
    exact: bool = True
    name: str = "mean"
    way: Literal["zero", "mean"] = "mean"
    colour: Colour = Colour.BLUE
    seed: int | None = None
    rank: Annotated[int, Field(ge=1)] | None = 4
    layers: tuple[int, ...] = (0, 2)
    shares: list[float] = [0.5]
    heads: list[str] = []
    pair: tuple[int, str] = (1, "a")
    inner: Inner = Inner()
    either: int | str = 3
    needed: float


FIELDS = {field.name: field for field in fields_of(Everything)}


def test_fields_come_in_the_order_of_the_model():
    assert list(FIELDS) == list(Everything.model_fields)


def test_title_and_description_are_those_of_the_parameter():
    assert FIELDS["count"].title == "How many"
    assert FIELDS["count"].description == "Counted at a time."
    assert FIELDS["above"].title == "Above"
    assert FIELDS["above"].description is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("count", FieldKind.INTEGER),
        ("share", FieldKind.NUMBER),
        ("exact", FieldKind.BOOLEAN),
        ("name", FieldKind.TEXT),
        ("way", FieldKind.CHOICE),
        ("colour", FieldKind.CHOICE),
        ("seed", FieldKind.INTEGER),
        ("layers", FieldKind.LIST),
        ("shares", FieldKind.LIST),
        ("heads", FieldKind.LIST),
        ("pair", FieldKind.JSON),
        ("inner", FieldKind.JSON),
        ("either", FieldKind.JSON),
    ],
)
def test_each_type_has_its_kind_of_field(name, kind):
    assert FIELDS[name].kind is kind


def test_bounds_are_kept():
    assert (FIELDS["count"].least, FIELDS["count"].most) == (1, 256)
    assert (FIELDS["share"].least, FIELDS["share"].most) == (0, 1)
    assert (FIELDS["rank"].least, FIELDS["rank"].most) == (1, None)


def test_an_open_bound_becomes_the_nearest_number_inside():
    assert (FIELDS["above"].least, FIELDS["above"].most) == (3, 8)
    assert 0 < FIELDS["small"].least < 1e-300
    Everything(needed=1, small=FIELDS["small"].least)


def test_choices_are_those_of_the_literal_or_the_enum():
    assert FIELDS["way"].choices == ("zero", "mean")
    assert FIELDS["colour"].choices == ("red", "blue")
    assert FIELDS["colour"].default == "blue"


def test_only_an_optional_field_may_stay_empty():
    assert FIELDS["seed"].optional
    assert FIELDS["seed"].value(None) is None
    assert not FIELDS["count"].optional
    assert FIELDS["name"].value("") == ""


def test_a_list_is_written_with_commas():
    assert FIELDS["layers"].text == "0, 2"
    assert FIELDS["layers"].value(" 1,2 , 3,") == [1, 2, 3]
    assert FIELDS["shares"].value("0.1, 1") == [0.1, 1.0]
    assert FIELDS["heads"].value("5.1, 9.2") == ["5.1", "9.2"]
    assert FIELDS["heads"].value("") == []


def test_what_cannot_be_read_is_refused_by_the_model_with_what_was_written():
    given = FIELDS["layers"].value("1, two")
    assert given == [1, "two"]
    with pytest.raises(ValidationError, match="'two'"):
        Everything(needed=1, layers=given)


def test_anything_else_is_written_as_json():
    assert FIELDS["inner"].text == '{"depth": 1}'
    assert FIELDS["inner"].value('{"depth": 2}') == {"depth": 2}
    assert FIELDS["pair"].value("[2, ") == "[2, "


def test_the_defaults_of_all_fields_together_are_the_defaults_of_the_model():
    written = (FieldKind.LIST, FieldKind.JSON)
    held = {
        name: field.value(field.text if field.kind in written else field.default)
        for name, field in FIELDS.items()
    }
    assert Everything.model_validate(held | {"needed": 1}) == Everything(needed=1)


def test_the_parameters_of_an_analysis_are_fields():
    field, prompts = fields_of(AttributionParams)
    assert (prompts.name, prompts.choices) == ("prompts", ("all", "known"))
    assert (field.name, field.least, field.most, field.default) == ("batch_size", 1, 256, 8)


def page(params):
    import streamlit as st

    from app.form_fields import fields_of
    from app.widgets import ask

    st.session_state["held"] = ask(fields_of(params), key="all")


def shown():
    at = AppTest.from_function(page, default_timeout=20, kwargs={"params": Everything})
    return at.run()


def test_untouched_widgets_hold_the_defaults():
    at = shown()
    assert not at.exception
    held = Everything.model_validate(at.session_state["held"])
    assert held == Everything(needed=held.needed)


def test_widgets_keep_the_bounds_and_the_words():
    at = shown()
    count = at.number_input(key="all.count")
    assert (count.min, count.max, count.value) == (1, 256, 8)
    assert (count.label, count.help) == ("How many", "Counted at a time.")
    assert at.selectbox(key="all.way").options == ["zero", "mean"]
    assert at.number_input(key="all.seed").value is None


def test_what_is_entered_is_what_the_model_gets():
    at = shown()
    at.number_input(key="all.count").set_value(16)
    at.number_input(key="all.small").set_value(0.25)
    at.checkbox(key="all.exact").uncheck()
    at.selectbox(key="all.colour").select("red")
    at.text_input(key="all.layers").input("4, 5")
    at.run()
    held = at.session_state["held"]
    assert (held["count"], held["small"], held["exact"]) == (16, 0.25, False)
    assert (held["colour"], held["layers"]) == ("red", [4, 5])


@pytest.mark.parametrize("written", ["[" * 100_000, "9" * 5000, '{"a":' * 50_000])
def test_what_is_written_too_deep_or_long_stays_for_the_model_to_refuse(written):
    field = FormField(name="x", title="x", description=None, kind=FieldKind.JSON)
    assert field.value(written) == written


def test_the_form_asks_every_field_of_the_recipe_but_its_name_and_what_only_files_have():
    asked = data.recipe_fields(registry.find("subspace"), DistributionSpec())
    columns = {name for name in DistributionSpec.model_fields if name.endswith("_column")}
    others = {*PARTS, *columns, "choices_columns", "group_columns", "answer_reading"}
    others |= {"layout", "counterfactual"}
    assert asked.keys() == DistributionSpec.model_fields.keys() - others
    assert asked["split"].default == "test"
    of_ioi = data.recipe_fields(registry.find("subspace"), DistributionSpec(data="ioi"))
    assert of_ioi.keys() == {"split", "seed", "size"}
    own = DistributionSpec(data="file:/x.jsonl", layout="pairs")
    of_pairs = data.recipe_fields(registry.find("subspace"), own)
    assert of_pairs.keys() == {
        *of_ioi,
        *(columns - {"question_column", "answer_column"}),
        "group_columns",
    }
    own_questions = data.recipe_fields(registry.find("subspace"), DistributionSpec(data="file:/x"))
    assert {"template", "labels", "choices_columns"} <= own_questions.keys()
    assert not {"prompt_column", "layout", "data"} & own_questions.keys()
    request = data.request_fields()
    assert (request["priority"].choices, request["priority"].default) == (
        ("now", "normal", "later"),
        "normal",
    )
    assert request["seed"].least == 0
