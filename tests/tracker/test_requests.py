"""A request prints itself in three forms, reads itself back, and finds the runs there are."""

import json
import math
import shlex
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some
from typer.testing import CliRunner

from analyses.errors import Refused
from analyses.names import BadName
from analyses.prompts.spec import PARTS, DistributionSpec
from tracker.cli import app
from tracker.database.db import Sessions, transaction
from tracker.domain import InvalidRequest, Priority, RunRequest, study_file
from tracker.domain.options import of_recipe, told_apart
from tracker.home.home import Home
from tracker.queueing import submission
from tracker.store import models as model_store

KEYS = some.text(min_size=1, max_size=8).filter(lambda name: "=" not in name)
NAMES = some.text(
    some.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=8
)
VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=12)
    | some.sampled_from(["1", "true", "null", "1e3", "NaN", "[", '"', "yes", "1:30", "2020-01-01"]),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
PATHS = ("file:/x/mmlu/ABCD.csv", "file:/x y/file:y/chinchilla/ABCD")
BOTH: dict[str, Any] = {
    "split": some.sampled_from(["all", "train", "test"]),
    "seed": some.integers(0, 2**63 - 1),
    "size": some.integers(1, 100_000),
}
QUESTIONS: dict[str, Any] = {
    **BOTH,
    "data": some.sampled_from(["facts", "colours", *PATHS]),
    "template": some.sampled_from(["chinchilla", "mmlu", "file:/a/b.jinja", "file:x/mmlu/ABCD"]),
    "labels": some.sampled_from(["ABCD", "numbers", "list:/,-,é,'", "list:W,X,Y,Z"]),
    "separators": some.sampled_from(["auto", "A)"]),
    "prelude": some.booleans(),
    "options": some.integers(2, 4),
    "shots": some.integers(0, 5),
    "option_references": some.sampled_from(["skip", "keep"]),
    "question_column": some.sampled_from(["question", "-q", "it's"]),
    "choices_columns": some.lists(NAMES, min_size=1, max_size=3),
    "answer_column": NAMES,
    "answer_reading": some.sampled_from(["auto", "from_1"]),
    "subject_column": some.sampled_from(["", "topic"]),
}
SHIPPED: dict[str, Any] = {
    **BOTH,
    "data": some.just("ioi"),
    "counterfactual": some.sampled_from(["swap", "abc"]),
}
COLUMN = some.sampled_from(["", "-c", "it's", "a b"])
PAIRS: dict[str, Any] = {
    **BOTH,
    "data": some.sampled_from(PATHS),
    "layout": some.sampled_from(["pairs", "transformer_lens", "mib"]),
    **dict.fromkeys(("prompt_column", "correct_column", "others_column"), NAMES),
    "counterfactual_column": COLUMN,
    "counterfactual_correct_column": COLUMN,
    "spans_column": COLUMN,
    "counterfactual_spans_column": COLUMN,
    "subject_column": COLUMN,
    "group_columns": some.lists(NAMES, max_size=3),
}
KINDS = (  # what must be named, and what may be
    ((), QUESTIONS),
    (("data",), SHIPPED),
    (("data", "layout"), PAIRS),
)
RECIPES = some.sampled_from(KINDS).flatmap(
    lambda kind: some.fixed_dictionaries(
        {name: kind[1][name] for name in kind[0]},
        optional={name: values for name, values in kind[1].items() if name not in kind[0]},
    )
)


@some.composite
def requests(draw: some.DrawFn) -> RunRequest:
    fields = draw(RECIPES)
    try:
        return RunRequest(
            analysis=draw(NAMES),
            model=draw(NAMES),
            recipe=fields,
            parameters=draw(some.dictionaries(KEYS, VALUES, max_size=3)),
            seed=draw(some.integers(0, 2**63 - 1)),
            priority=draw(some.sampled_from(Priority)),
            study=draw(some.none() | NAMES),
            force=draw(some.booleans()),
        )
    except (Refused, InvalidRequest):
        assume(False)
        raise


def test_every_field_of_the_recipe_is_drawn() -> None:
    drawn = QUESTIONS.keys() | SHIPPED.keys() | PAIRS.keys()
    assert drawn == DistributionSpec.model_fields.keys()


@pytest.mark.parametrize("command", [("submit",), ("distributions", "show")])
def test_every_field_of_the_recipe_is_an_option_with_its_meaning(command: tuple[str, ...]) -> None:
    said = " ".join(CliRunner().invoke(app, [*command, "--help"]).stdout.split())
    for name, field in DistributionSpec.model_fields.items():
        if name in PARTS and command != ("submit",):
            continue
        assert f" {of_recipe(name)} " in said
        assert str(field.description)[:25] in said


def same(one: RunRequest, other: RunRequest) -> None:
    """Equal, and with the split named in both or in none."""
    assert one == other
    named = [("split" in each.recipe.model_fields_set) for each in (one, other)]
    assert named[0] == named[1]


def of_command(*words: str) -> RunRequest:
    """What the command reads, told in YAML."""
    ended = CliRunner().invoke(app, ["submit", *words, "--print", "yaml"])
    assert ended.exception is None, ended.exception or ended.output
    (read,) = study_file.read(ended.stdout.encode())
    return read


NEXT_LINE = RunRequest(analysis="a", model="m", parameters={"\x85": "\x85 \u2028\u2029"})


@settings(max_examples=60, deadline=None)
@example(NEXT_LINE)
@given(requests())
def test_a_request_is_read_back_from_each_of_its_forms(request: RunRequest) -> None:
    code = request.as_python()
    same(eval(code, {"headbook": SimpleNamespace(RunRequest=RunRequest)}), request)
    (read,) = study_file.read(request.as_yaml().encode())
    same(read, request)
    headbook, submit, *words = shlex.split(request.as_command())
    assert (headbook, submit) == ("headbook", "submit")
    same(of_command(*words), request)


def test_the_command_is_as_a_person_would_type_it() -> None:
    request = RunRequest(
        analysis="subspace",
        model="a model",
        recipe={"name": "facts/mmlu", "size": 8, "prelude": False, "choices_columns": ["a", "b"]},
        parameters={"rank": 2, "way": "mean", "layers": [1, 2], "year": "1984", "none": None},
        priority=Priority.NOW,
        study="first look",
        force=True,
    )
    assert request.as_command() == (
        "headbook submit subspace --model 'a model' --distribution facts/mmlu --no-prelude "
        "--prompts 8 --choices-column a --choices-column b -p rank=2 -p way=mean "
        "-p 'layers=[1, 2]' -p 'year=\"1984\"' -p none=null --priority now "
        "--study 'first look' --force"
    )
    assert request.as_yaml().startswith("requests:\n- analysis: subspace\n  model: a model\n")


def test_the_command_of_completions_is_as_a_person_would_type_it() -> None:
    named = RunRequest(analysis="patching", model="m", recipe={"name": "ioi/abc", "size": 8})
    assert named.as_command() == (
        "headbook submit patching --model m --distribution ioi --counterfactual abc --prompts 8"
    )
    own = RunRequest(
        analysis="patching",
        model="m",
        recipe={
            "data": "file:/x/pairs.jsonl",
            "layout": "pairs",
            "others_column": "wrong",
            "group_columns": ["template", "order"],
        },
    )
    assert own.as_command() == (
        "headbook submit patching --model m --distribution file:/x/pairs.jsonl --layout pairs "
        "--others-column wrong --group-column template --group-column order"
    )


def test_a_grid_may_vary_the_counterfactual() -> None:
    words = "--model", "m", "--distribution", "ioi"
    varied = ("--counterfactual", "swap", "--counterfactual", "abc")
    ended = CliRunner().invoke(app, ["submit", "patching", *words, *varied, "--print", "yaml"])
    assert ended.exception is None, ended.output
    requests = study_file.read(ended.stdout.encode())
    assert [each.recipe.counterfactual for each in requests] == ["swap", "abc"]
    assert told_apart(requests) == ["--counterfactual=swap", "--counterfactual=abc"]


def test_the_split_is_told_where_it_is_named_and_only_there() -> None:
    for recipe, told in (({}, False), ({"split": "all"}, True), ({"split": "test"}, True)):
        request = RunRequest(analysis="subspace", model="m", recipe=recipe)
        assert ("--split" in request.as_command()) == told
        assert ("split" in request.as_yaml()) == told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": -1}, "seed: Input should be greater than or equal to 0 (given: -1)"),
        ({"recipes": {}}, "Its fields are: analysis, model, recipe, parameters, seed, priority"),
        ({"parameters": {"x": math.inf}}, "not JSON: Out of range float"),
        ({"parameters": {"x": {1}}}, "not JSON: Object of type set"),
        ({"parameters": {"x=1": 1}}, "'x=1' is not a valid parameter name"),
        ({"parameters": {"x": json.loads("[" * 30 + "]" * 30)}}, "nested too deeply"),
        ({"priority": "soon"}, "priority: Input should be 'now', 'normal' or 'later'"),
    ],
)
def test_a_request_that_is_none_is_refused_in_a_sentence(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        RunRequest(**{"analysis": "a", "model": "m"} | change)
    assert says in str(refused.value)
    with pytest.raises(BadName, match="name of the study"):
        RunRequest(analysis="a", model="m", study=" ")


# Taken before a request was a value: of the shipped model, by analysis, recipe, parameters, seed.
KNOWN = [
    (
        "attribution",
        {"size": 8},
        {},
        0,
        "e8e034733f190b15e8b78c3893d0e120cdd0f9b4ac628e1f686b97bdfbd22d98",
    ),
    (
        "attribution",
        {
            "data": "colours",
            "template": "mmlu",
            "labels": "numbers",
            "separators": "A)",
            "prelude": False,
            "options": 3,
            "shots": 1,
            "seed": 5,
            "size": 6,
        },
        {"batch_size": 4, "prompts": "known"},
        7,
        "93694221d26c7ad6cabb44361b83df214c213c6396db1467f8cc89c63457947a",
    ),
    (
        "patching",
        {"split": "test", "size": 8},
        {"direction": "denoise"},
        1,
        "c7eb87e69d2feceb397ad057254995c892f8053c6120a362ee596b7f5d7a7f65",
    ),
    (
        "attention",
        {"data": "colours", "size": 8},
        {},
        0,
        "ff63e7ff3456faadbf4ade94f27e6db97b9fd23a1638543df8d3dadd073bb050",
    ),
    (
        "subspace",
        {"data": "colours", "size": 8},  # of split test, as it needs them
        {},
        0,
        "68a777873feede2bcbdabac9102f72e260de6a44439deeca2ee61a4840e7ad3d",
    ),
    (
        "label_randomisation",
        {"data": "colours", "split": "test", "size": 8},
        {"mutations": ["shuffled"]},
        3,
        "18fa43665d4adbd5954aeee0a037f9af217ff5fbac80d52b6a411539a39c7c63",
    ),
]
FILES = "bfb35202a24fb36747162b84becdaa514b351475c1d285eb9a69382afa14365b"


def test_requests_find_the_runs_that_earlier_versions_recorded(
    sessions: Sessions, home: Home
) -> None:
    with transaction(sessions) as session:
        model_store.add_model(
            session,
            name="mcq-small",
            ref="mcq-small",
            revision=FILES[:40],
            dtype="float32",
            fingerprint=FILES,
            family="llama",
            n_layers=4,
            n_heads=8,
            n_kv_heads=8,
            d_model=128,
            d_head=16,
            d_vocab=1497,
        )
    asked = [
        RunRequest(
            analysis=analysis, model="mcq-small", recipe=recipe, parameters=params, seed=seed
        )
        for analysis, recipe, params, seed, _ in KNOWN
    ]
    checked = submission.check(asked, sessions=sessions, home=home)
    assert [each.planned.fingerprint for each in checked] == [known for *_, known in KNOWN]
    (subspace,) = [each for each in checked if each.request.analysis == "subspace"]
    assert "The prompts are of split 'test', as subspace needs them." in subspace.planned.remarks
