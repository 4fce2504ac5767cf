"""A person's template: its places are known, and it can neither look around nor run away."""

import json
import re

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from analyses.errors import Refused
from analyses.prompts.bounds import Beyond
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.locating import places
from analyses.prompts.own_templates import BadTemplate, own_wording

OPTIONS = "{% for o in options %}<{{ o.label }}> {{ o.text }}\n{% endfor %}"
PLAIN = "{{ question }}\n" + OPTIONS + "Answer: <"


@pytest.fixture
def made(tmp_path):
    """Builds a distribution under a template of that text."""

    def make(source, **fields):
        path = tmp_path / "own.jinja"
        path.write_bytes(source.encode())
        return build(DistributionSpec(template=f"file:{path}", **{"size": 4} | fields))

    return make


@pytest.fixture
def refused(made):
    def refuse(source, **fields):
        with pytest.raises((BadTemplate, Beyond)) as error:
            made(source, **fields)
        return str(error.value)

    return refuse


def test_a_template_is_printed_with_its_places(made):
    built = made("About {{ topic|upper }}: " + PLAIN, size=40)
    for plan, prompt in zip(built.plans, built.prompts, strict=True):
        lines = [f"<{a}> {b}\n" for a, b in zip(prompt.labels, prompt.options, strict=True)]
        head = f"About {plan.asked.item.topic.upper()}: "
        assert prompt.text == head + plan.asked.item.question + "\n" + "".join(lines) + "Answer: <"
        assert tuple(prompt.text[slice(*span)] for span in prompt.label_spans) == prompt.labels
        assert tuple(prompt.text[slice(*span)] for span in prompt.option_spans) == prompt.options
        assert prompt.text[slice(*prompt.question_span)] == plan.asked.item.question
        assert prompt.joint == ""
        stops = [prompt.text[:stop].count("\n") for stop in prompt.line_stops]
        assert stops == [2, 3, 4, 5]


def test_it_can_say_all_that_the_shipped_templates_say(made):
    source = (
        "{% if prelude %}A highly knowledgeable and intelligent AI answers multiple-choice "
        "questions about {{ topic }}.\n\n{% endif %}"
        "{% for shot in shots %}{{ shot.question }}\n{% for o in shot.options %}"
        "({{ o.label }}) {{ o.text }}\n{% endfor %}Answer: ({{ shot.label }})\n\n{% endfor %}"
        "{{ question }}\n{% for o in options %}({{ o.label }}) {{ o.text }}\n{% endfor %}Answer: ("
    )
    for fields in ({"shots": 2}, {"prelude": False}, {"shots": 1, "labels": "random_letters"}):
        own, shipped = made(source, **fields), build(DistributionSpec(size=4, **fields))
        assert own.prompts == shipped.prompts


def test_options_may_stand_in_any_order_and_on_one_line(made):
    source = "{% for o in options %}{{ o.text }} [{{ o.label }}]; {% endfor %}{{ question }} So"
    for prompt in made(source).prompts:
        pieces = zip(prompt.options, prompt.labels, strict=True)
        assert prompt.text.startswith("".join(f"{a} [{b}]; " for a, b in pieces))
        assert prompt.line_stops == tuple(span.stop for span in prompt.option_spans)
        assert prompt.joint == " "


@pytest.mark.parametrize(
    ("end", "joint"), [("Answer: (", ""), ("Answer: ", ""), ("Answer:", " "), ("Answer: \\", " ")]
)
def test_a_label_follows_a_bracket_or_space_at_once(made, end, joint):
    assert made("{{ question }}\n" + OPTIONS + end).prompts[0].joint == joint


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (PLAIN.replace("{{ question }}", ""), "it does not print the question"),
        (PLAIN.replace("{{ o.label }}", "x"), "it does not print the label of option 1"),
        (PLAIN.replace("{{ o.text }}", ""), "it does not print the text of option 1"),
        (PLAIN.replace("in options", "in options if loop.index < 4"), "undefined|option"),
        (PLAIN + "{{ question }}", "it prints the question twice"),
        (PLAIN + "{{ options[2].label }}", "it prints the label of option 3 twice"),
        (PLAIN.replace("o.text", "o.text|lower"), "it changes the text of option"),
        (PLAIN.replace("question", "question|upper"), "it changes the question"),
        (PLAIN.replace("question", "question|first"), "question"),
    ],
)
def test_a_piece_that_is_missing_doubled_or_changed_is_refused(refused, source, says):
    assert re.search(says, refused(source))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ question.__class__ }}", "the attribute '__class__' in line 1 is not allowed"),
        ("{{ question['__class__'] }}", "the attribute '__class__'"),
        ("\n{{ ''['_x'] }}", "the attribute '_x' in line 2"),
        ("{{ question['__cl' ~ 'ass__'] }}", "unsafe|undefined|no attribute"),
        ("{{ question|attr('__class__') }}", "the filter 'attr' in line 1"),
        ("{{ _steps }}", "the name '_steps'"),
        ("{{ question.upper() }}", "a call of anything but range in line 1"),
        ("{{ cycler('a') }}", "a call of anything but range"),
        ("{% set a = 'x' %}", "'assign'"),
        ("{% macro m() %}{% endmacro %}", "'macro'"),
        ("{% include 'x' %}", "'include'"),
        ("{% import 'x' as y %}", "'import'"),
        ("{% extends 'x' %}", "'extends'"),
        ("{{ 'x' * 1000000000 }}", "'mul'"),
        ("{{ 9 ** 999999 }}", "'pow'"),
        ("{{ '%1000000000d' % 1 }}", "'mod'"),
        ("{{ question|center(1000000000) }}", "the filter 'center'"),
        ("{{ question|random }}", "the filter 'random'"),
        ("{% for o in options recursive %}{% endfor %}", "a recursive loop"),
        ("{{ '\\U000F0000' }}", "a private-use character"),
        ("\U000f0001", "a private-use character"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ options }}", "it prints a value that is not text: list"),
        ("{{ question.upper }}", "it prints a value that is not text"),
        ("{{ range }}", "it prints a value that is not text"),
        ("{{ question", "in line 1"),
        ("{% for %}", "in line 1"),
        ("{{ 1 + question }}", "unsupported operand"),
    ],
)
def test_what_a_template_may_not_do_is_refused(refused, source, says):
    assert re.search(says, refused(source + PLAIN))


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999999999) %}x{% endfor %}",
        "{% for a in range(30000) %}{% endfor %}",
        "{% for a in range(999) %}{% for b in range(999) %}{% endfor %}{% endfor %}",
        "{% for a in question %}{% for b in question %}{% for c in question %}{% for d in question "
        "%}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    ],
)
def test_loops_end(refused, source):
    assert "takes more than 50,000 steps for a prompt" in refused(PLAIN + source)


def test_a_text_that_grows_is_cut_off(refused):
    long = "x" * 300
    source = "{% for a in range(9000) %}" + long + "{% endfor %}"
    assert "own.jinja has more than 200,000 characters" in refused(PLAIN + source)
    assert "and 20,000 are allowed" in refused(PLAIN + "x" * 20_001)


def test_data_with_private_characters_is_refused(tmp_path, refused):
    path = tmp_path / "data.jsonl"
    row = {"question": "a \U000f0002?", "choices": ["x", "y"], "answer": 0}
    path.write_text(json.dumps(row))
    assert "private-use" in refused(PLAIN, data=f"file:{path}", options=2, size=1)


def test_the_text_of_a_template_is_part_of_the_hash_and_its_newlines_are_not(made):
    plain = made(PLAIN)
    assert made(PLAIN.replace("\n", "\r\n")).hash == plain.hash
    assert made(PLAIN.replace("\n", "\r\n")).prompts == plain.prompts
    comment = made("{# of no effect #}" + PLAIN)
    assert comment.prompts == plain.prompts
    assert comment.hash != plain.hash


def test_a_template_outside_the_roots_is_refused(tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text(PLAIN)
    with pytest.raises(Refused, match="is outside the data roots"):
        own_wording(path, prelude=True, roots=[tmp_path / "data"])
    assert own_wording(path, prelude=True, roots=[tmp_path]).source == PLAIN
    with pytest.raises(Refused, match="No file at"):
        own_wording(tmp_path / "none", prelude=True)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{% if 'x' in range(100000000) %}{% endif %}", "takes more than 50,000 steps"),
        ("{{ '\\ud800' }}", "a lone surrogate or a null"),
    ],
)
def test_what_would_take_for_ever_or_cannot_be_stored_is_refused(tmp_path, body, says):
    path = tmp_path / "mine.jinja"
    block = "{{ question }}{% for o in options %}({{ o.label }}) {{ o.text }} {% endfor %}"
    path.write_text(block + body)
    with pytest.raises(Refused, match=says):
        build(DistributionSpec(template=f"file:{path}", size=2))


def test_a_template_with_nothing_behind_its_last_label_has_no_place_for_a_bracket(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{{ question }}\n{% for o in options %}{{ o.text }} ({{ o.label }}{% endfor %}")
    (prompt,) = build(DistributionSpec(template=f"file:{path}", size=1)).prompts
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()
    with pytest.raises(Refused, match=r"behind the last label|not a single separate token"):
        places(tokenizer, prompt)
