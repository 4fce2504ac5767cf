"""A recipe is a frozen value that refuses what cannot be made, with the way out."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from analyses.errors import Refused
from analyses.prompts.distributions import DistributionSpec

REVISION = "0123456789" * 4


@pytest.mark.parametrize("name", ["facts", "facts/chinchilla", "facts/chinchilla/ABCD"])
def test_a_name_may_leave_out_its_end(name):
    spec = DistributionSpec.parse(name, size=8, seed=3)
    assert spec == DistributionSpec(size=8, seed=3)
    assert spec.name == "facts/chinchilla/ABCD"


@pytest.mark.parametrize(
    "data",
    [
        "colours",
        "file:/d/a.b/x.jsonl",
        "folder:/d/mmlu",
        "folder:d/e",
        f"hub:cais/mmlu@{REVISION}",
        f"hub:cais/mmlu:law:dev@{REVISION}",
    ],
)
@pytest.mark.parametrize("template", ["mmlu", "file:/t/own.jinja", "file:own.jinja"])
@pytest.mark.parametrize("labels", ["numbers", "list:W,X,Y,Z"])
def test_a_name_that_holds_paths_is_read_again(data, template, labels):
    spec = DistributionSpec(data=data, template=template, labels=labels)
    assert DistributionSpec.parse(spec.name) == spec
    assert DistributionSpec.parse(data).data == data


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("fact", "No data named 'fact'. Did you mean 'facts'? Known data: facts, colours, ioi,"),
        ("../data/facts/mmlu", "The distribution name '../data/facts/mmlu' has too many parts."),
        ("facts/chinchila", "No template named 'chinchila'. Did you mean 'chinchilla'? Known"),
        ("facts/mmlu/random", "No labels named 'random'. Did you mean 'random_letters'? Known"),
        ("facts/chinchilla/XYZ", "No labels named 'XYZ'. Known labels: ABCD, random_letters"),
        (
            "facts/chinchilla/ABCD/64",
            "The distribution name 'facts/chinchilla/ABCD/64' has too many parts. "
            "A name is data/template/labels, such as 'facts/chinchilla/ABCD', or of completions",
        ),
        ("hub:cais/mmlu", "'hub:cais/mmlu' does not name a hub data set at a fixed"),
        ("hub:cais/mmlu@main", "the revision is the 40 hexadecimal digits of a commit"),
        ("file:", "No data named 'file:'"),
    ],
)
def test_an_unknown_name_says_what_was_meant(name, sentence):
    with pytest.raises(Refused, match=re.escape(sentence)):
        DistributionSpec.parse(name)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"size": 0}, r"size: .*greater than or equal to 1 \(given: 0\)"),
        ({"size": 100_001}, "size: .*less than or equal to 100000"),
        ({"options": 1}, "options: .*greater than or equal to 2"),
        ({"options": 11}, "options: .*less than or equal to 10"),
        ({"shots": 6}, "shots: .*less than or equal to 5"),
        ({"seed": -1}, "seed: "),
        ({"split": "dev"}, "split: .*'all', 'train' or 'test'"),
        ({"separators": "A-"}, "separators: "),
        ({"shot": 1}, "shot: .*Its fields are: data, layout, counterfactual, template, labels"),
        ({"labels": "list:a,b,c"}, "it has 3 labels for 4 options"),
        ({"labels": "list:a,b,,c"}, "one of them is empty"),
        ({"labels": "list:a,b,a,c"}, "'a' appears twice"),
        ({"labels": "list:a,b,c d,e"}, "more than one word"),
        ({"template": "file:/x", "separators": "A."}, "Leave the separators at 'auto'"),
    ],
)
def test_what_cannot_be_made_is_refused_however_it_is_given(fields, says):
    for make in (
        lambda: DistributionSpec(**fields),
        lambda: DistributionSpec.model_validate(fields),
    ):
        with pytest.raises(Refused, match=says):
            make()


def test_a_spec_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        setattr(DistributionSpec(), "seed", 1)  # noqa: B010 - as one does who is not checked
    assert hash(DistributionSpec()) == hash(DistributionSpec(data="facts"))


def test_every_field_tells_a_form_what_it_is():
    fields = DistributionSpec.model_json_schema()["properties"]
    assert set(fields) == set(DistributionSpec.model_fields)
    for name, field in fields.items():
        assert field["title"][0].isupper(), name
        assert field["description"].endswith("."), name
        assert "default" in field, name
    assert (fields["options"]["minimum"], fields["options"]["maximum"]) == (2, 10)
    assert (fields["shots"]["minimum"], fields["shots"]["maximum"]) == (0, 5)
    assert (fields["size"]["minimum"], fields["size"]["maximum"]) == (1, 100_000)


def test_a_template_file_is_told_by_its_beginning():
    assert DistributionSpec(template="file:/t/x.jinja").own_template == Path("/t/x.jinja")
    assert DistributionSpec().own_template is None
