"""Recipes of completions, which items they draw, and the companions of their prompts."""

from collections import Counter
from dataclasses import replace

import pytest

from analyses.prompts import completing
from analyses.prompts.completing import TooFewCompletions, draw
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.distributions import CompletionDistribution, build
from analyses.prompts.mutations import Mutation
from analyses.prompts.pairing import pairs
from analyses.prompts.prompt import completion_prompt
from analyses.prompts.sources import (
    Difference,
    NoCounterfactual,
    NoSource,
    NotOfQuestions,
    OnlyOfQuestions,
    SourceKind,
)
from analyses.prompts.spec import DistributionSpec, FieldOfOtherKind, UnreadableName
from analyses.prompts.tasks import UnknownCounterfactual
from analyses.prompts.written import Span

OWN = "file:/tmp/pairs.jsonl"
FIELDS_OF_QUESTIONS = {
    "template": "mmlu",
    "labels": "numbers",
    "separators": "A.",
    "prelude": False,
    "options": 3,
    "shots": 1,
    "option_references": "keep",
}
COLUMNS_OF_QUESTIONS = {
    "question_column": "q",
    "choices_columns": ("c",),
    "answer_column": "a",
    "answer_reading": "text",
}
COLUMNS_OF_PAIRS = {
    "prompt_column": "p",
    "correct_column": "c",
    "others_column": "o",
    "counterfactual_column": "f",
    "counterfactual_correct_column": "fc",
    "spans_column": "s",
    "counterfactual_spans_column": "fs",
    "group_columns": ("g",),
}


def built(**fields) -> CompletionDistribution:
    made = build(DistributionSpec(**{"data": "ioi", "size": 24, **fields}))
    assert isinstance(made, CompletionDistribution)
    return made


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"data": "facts"}, "questions"),
        ({"data": "ioi"}, "completions"),
        ({"data": OWN}, "questions"),
        ({"data": OWN, "layout": "questions"}, "questions"),
        *(({"data": OWN, "layout": each}, "completions") for each in ("pairs", "mib")),
        ({"data": OWN, "layout": "transformer_lens"}, "completions"),
    ],
)
def test_the_data_and_their_layout_say_what_the_prompts_are(fields, kind):
    assert DistributionSpec(**fields).kind == kind


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"data": "ioi"}, FIELDS_OF_QUESTIONS | COLUMNS_OF_QUESTIONS | COLUMNS_OF_PAIRS),
        ({"data": "ioi"}, {"layout": "pairs", "subject_column": "s"}),
        ({"data": "facts"}, {"counterfactual": "abc", "layout": "pairs"} | COLUMNS_OF_PAIRS),
        ({"data": OWN}, {"counterfactual": "abc"} | COLUMNS_OF_PAIRS),
        (
            {"data": OWN, "layout": "pairs"},
            {"counterfactual": "abc"} | FIELDS_OF_QUESTIONS | COLUMNS_OF_QUESTIONS,
        ),
    ],
)
def test_a_field_of_the_other_kind_is_refused_by_name(data, fields):
    for field, value in fields.items():
        with pytest.raises(FieldOfOtherKind, match=rf"The field '{field}' applies to .* only"):
            DistributionSpec(**data, **{field: value})
        usual = DistributionSpec.model_fields[field].default
        assert DistributionSpec(**data, **{field: usual}) == DistributionSpec(**data)


@pytest.mark.parametrize("name", ["ioi/swap", "ioi/abc"])
def test_a_name_parses_and_prints_back(name):
    spec = DistributionSpec.parse(name)
    assert spec.name == name
    assert spec.counterfactual == name.partition("/")[2]


def test_without_a_counterfactual_the_name_says_which_one_is_taken():
    spec = DistributionSpec.parse("ioi")
    assert (spec.name, spec.counterfactual) == ("ioi/swap", "")
    assert build(spec).hash == build(DistributionSpec.parse("ioi/swap")).hash


def test_a_name_with_too_much_or_an_unknown_counterfactual_is_refused():
    with pytest.raises(UnreadableName, match=r"'ioi/abc/ABCD' has too many parts.*ioi/abc"):
        DistributionSpec.parse("ioi/abc/ABCD")
    with pytest.raises(UnknownCounterfactual, match=r"'abd'.*Did you mean 'abc'.*swap, abc"):
        DistributionSpec.parse("ioi/abd")


def item(relation: str, subject: str, unit: str = "") -> CompletionItem:
    asked = Completion(
        text=f"{relation} {subject} is", joint=" ", candidates=("a", "b"), correct=(0,)
    )
    return CompletionItem(
        id=f"{relation}/{subject}",
        topic="t",
        unit=unit or subject,
        asked=asked,
        counterfactual=None,
    )


ITEMS = [item(f"r{r}", f"{n}", unit=f"u{n // 2}") for r in range(4) for n in range(20)]


def spec(**fields) -> DistributionSpec:
    return DistributionSpec(data="ioi", **fields)


@pytest.mark.parametrize("seed", range(3))
def test_items_are_spread_over_relations_and_more_keep_the_fewer(seed):
    drawn = draw(ITEMS, spec(size=12, seed=seed))
    assert Counter(each.relation for each in drawn) == {f"r{r}": 3 for r in range(4)}
    more = draw(ITEMS, spec(size=30, seed=seed))
    assert {each.id for each in drawn} < {each.id for each in more}
    assert drawn == draw(list(reversed(ITEMS)), spec(size=12, seed=seed))
    assert drawn != draw(ITEMS, spec(size=12, seed=seed + 10))


def test_a_unit_is_in_one_split_whatever_the_seed_and_one_in_five_is_in_test():
    units = {}
    for split in ("train", "test"):
        sizes = {"train": 64, "test": 16}
        found = [draw(ITEMS, spec(size=sizes[split], split=split, seed=seed)) for seed in (0, 7)]
        (units[split],) = {frozenset(each.unit for each in drawn) for drawn in found}
    assert not units["train"] & units["test"]
    assert (len(units["train"]), len(units["test"])) == (8, 2)


def test_too_few_are_refused_with_how_many_there_are():
    with pytest.raises(TooFewCompletions, match=r"size of 81 .* has 80 prompts\. .* 1 to 80"):
        draw(ITEMS, spec(size=81))
    with pytest.raises(TooFewCompletions, match=r"'ioi' has 16 prompts in the split 'test'"):
        draw(ITEMS, spec(size=17, split="test"))
    with pytest.raises(TooFewCompletions, match=r"has 0 prompts .* Choose another split"):
        draw(ITEMS[:2], spec(size=1, split="test"))


def test_the_hash_follows_content_and_not_how_it_is_named():
    one = built()
    assert one.hash == built().hash == built(counterfactual="swap").hash
    others = [built(counterfactual="abc"), built(seed=1), built(size=23), built(split="train")]
    assert len({one.hash, *(each.hash for each in others)}) == 5


def test_the_digest_of_items_follows_everything_but_the_row():
    other = Completion(text="q", joint="", candidates=("a", "b", "c"), correct=(2,))
    first = replace(ITEMS[0], counterfactual=other)

    def asked(**fields) -> CompletionItem:
        return replace(first, asked=replace(first.asked, **fields))

    changed = [
        replace(first, id="r0/x"),
        replace(first, topic="x"),
        replace(first, unit="x"),
        replace(first, groups={"order": "x"}),
        replace(first, counterfactual=None),
        replace(first, counterfactual=replace(other, correct=(1, 2))),
        asked(text="x"),
        asked(joint=""),
        asked(candidates=("a", "c")),
        asked(correct=(1,)),
        asked(spans={"s": Span(0, 1)}),
    ]
    digests = {completing.digest([each]) for each in (first, *changed)}
    assert len(digests) == len(changed) + 1
    assert completing.digest([replace(first, where="line 3")]) == completing.digest([first])


def test_prompts_are_the_items_in_their_order_with_numbers_groups_and_spans():
    made = built()
    for number, (prompt, item) in enumerate(zip(made.prompts, made.drawn, strict=True)):
        assert prompt == completion_prompt(number, item.id, item.asked, item.groups)
        assert set(prompt.groups) == {"template", "order"}
        assert prompt.text[slice(*prompt.spans["io"])] == prompt.correct_labels[0]


@pytest.mark.parametrize("counterfactual", ["swap", "abc"])
def test_a_paired_source_is_the_counterfactual_of_its_prompt(counterfactual):
    made = built(counterfactual=counterfactual)
    found = pairs(made, SourceKind.PAIRED)
    assert found == pairs(made, SourceKind.PAIRED, seed=5)  # nothing is drawn
    for pair, prompt, item in zip(found, made.prompts, made.drawn, strict=True):
        other = completion_prompt(prompt.number, item.id, item.counterfactual, item.groups)
        assert (pair.kind, pair.base, pair.source) == (SourceKind.PAIRED, prompt, other)
        swapped = {Difference.LABEL} if counterfactual == "swap" else set()
        assert pair.differs == {Difference.TEXT, *swapped}


def test_resample_takes_a_prompt_with_other_correct_labels():
    made = built()
    found = pairs(made, SourceKind.RESAMPLE)
    assert [pair.base for pair in found] == list(made.prompts)
    for pair in found:
        assert pair.source == made.prompts[pair.source.number]
        assert pair.source.correct_labels != pair.base.correct_labels
        assert {Difference.TEXT, Difference.LABEL} <= pair.differs
    sources = [pair.source.number for pair in found]
    assert sources != [pair.source.number for pair in pairs(made, SourceKind.RESAMPLE, seed=1)]
    one = built(size=1)
    with pytest.raises(NoSource, match="of 1 prompt, none has"):
        pairs(one, SourceKind.RESAMPLE)


@pytest.mark.parametrize("kind", sorted(set(SourceKind) - {SourceKind.PAIRED, SourceKind.RESAMPLE}))
def test_changes_of_options_are_refused_of_completions(kind):
    with pytest.raises(OnlyOfQuestions, match=rf"'{kind}' changes .*'ioi' has completions.*paired"):
        pairs(built(), kind)


def test_a_counterfactual_is_refused_where_there_is_none():
    with pytest.raises(NotOfQuestions, match="'paired' is not possible with 'facts'"):
        pairs(build(DistributionSpec(size=4)), SourceKind.PAIRED)
    made = built(size=2)
    without = replace(made, counterfactuals=(made.counterfactuals[0], None))
    with pytest.raises(NoCounterfactual, match="prompts of 'ioi' have no counterfactual"):
        pairs(without, SourceKind.PAIRED)


def test_a_mutation_is_refused_of_completions():
    made = built(size=2)
    for mutation in Mutation:
        with pytest.raises(OnlyOfQuestions, match=f"'{mutation}' changes the options or labels"):
            pairs(made, mutation)
