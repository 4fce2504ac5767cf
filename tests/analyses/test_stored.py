"""What is said of stored scores names those scores and no others."""

import json
from dataclasses import replace

from analyses.quantities import Quantity, Value
from analyses.results import MODEL, Component, Kind, ScoreKey
from analyses.stored import Meanings, ScoreDescription, as_json, from_json

HEAD = Component(kind=Kind.HEAD, layer=0, index=0)
SAID = ScoreDescription(
    metric="weight",
    meaning="of attention",
    where=((Kind.HEAD, "pattern"), (Kind.MODEL, "")),
    varied=({}, {"keys": "{group}"}, {"of": "a+b={i}", "variant": "c"}),
)


def key(
    component: Component = HEAD, site: str = "pattern", x: float = 0.0, **varied: Value
) -> ScoreKey:
    return ScoreKey(component, Quantity("weight", site, varied), x)


def test_a_place_is_a_kind_of_component_at_a_site() -> None:
    assert key() in SAID
    assert key(MODEL, "") in SAID
    assert key(MODEL) not in SAID
    assert key(site="z") not in SAID
    assert ScoreKey(HEAD, Quantity("other", "pattern")) not in SAID


def test_braces_in_a_value_stand_for_any_text_and_all_else_for_itself() -> None:
    assert key(keys="label") in SAID
    assert key(of="a+b=3", variant="c") in SAID
    assert key(keys=3) in SAID
    assert key(keys="label", of="loss") not in SAID
    assert key(of="aab=3", variant="c") not in SAID
    assert key(no_keys="label") not in SAID


def test_a_coordinate_must_be_told() -> None:
    assert key(x=2.0) not in SAID
    told = ScoreDescription(metric="loss", meaning="by rank", x="rank")
    assert ScoreKey(MODEL, Quantity("loss"), x=2.0) in told
    assert ScoreKey(MODEL, Quantity("loss")) in told


def test_each_place_with_each_of_what_is_varied_is_one_variant() -> None:
    assert len(SAID.variants()) == 6


def test_what_a_run_keeps_of_it_comes_back_from_json() -> None:
    said = (
        SAID,
        ScoreDescription(metric="order", meaning="a place", better="low", no_interval="why"),
    )
    kept = from_json(json.loads(json.dumps(as_json(said))))
    assert kept == tuple(replace(each, meaning="") for each in said)


def test_what_is_said_of_a_score_is_found_by_kind_quantity_and_coordinate() -> None:
    ranks = ScoreDescription(metric="weight", meaning="by rank", x="rank")
    meanings = Meanings([SAID, ranks])
    assert meanings.of(key(keys="label")) is SAID
    assert meanings.of(ScoreKey(MODEL, Quantity("weight"), x=2.0)) is ranks
    assert meanings.of(key(site="z")) is None
