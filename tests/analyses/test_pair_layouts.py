"""The layouts that files of pairs have, and the examples of each in docs/own-pairs.md."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pair_files import as_csv, correct, data, items, jsonl, parquet

from analyses.errors import Refused
from analyses.prompts import mib_rows
from analyses.prompts.bad_rows import BadRows
from analyses.prompts.pair_columns import USUAL, Layout, PairColumns
from analyses.prompts.spec import OF, DistributionSpec
from tracker.domain import options

PAGE = (Path(__file__).parents[2] / "docs/own-pairs.md").read_text()
EXAMPLES = dict(re.findall(r"`(\w+\.\w+)`[^`]*:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def example(tmp_path):
    def written(name: str) -> Path:
        path = tmp_path / name
        path.write_text(EXAMPLES[name])
        return path

    return written


def test_the_examples_are_all_that_the_page_has():
    assert list(EXAMPLES) == [
        *("ioi.jsonl", "years.csv", "clean.csv", "ioi_mib.jsonl", "arithmetic_mib.jsonl")
    ]


def test_the_pairs_of_the_page_say_who_gets_it(example):
    found = items(example("ioi.jsonl"))
    assert [correct(each.asked) for each in found] == [{"Mary"}, {"Ann"}]
    assert [correct(each.counterfactual) for each in found] == [{"John"}, {"Tom"}]
    for item in found:
        for text, right in ((item.asked, correct(item.asked)), (item.counterfactual, None)):
            named = {name: text.text[slice(*span)] for name, span in text.spans.items()}
            assert named["s1"] == named["s2"] != named["io"]
            assert right in (None, {named["io"]})


def test_the_years_of_the_page_have_several_correct_candidates(example):
    first, second = items(example("years.csv"), group_columns=("template",))
    assert correct(first.asked) == {"33", "58"}
    assert (first.asked.joint, first.asked.text[-2:]) == ("", "17")
    assert second.asked.text[slice(*second.asked.spans["noun"])] == "siege"
    assert [each.groups for each in (first, second)] == [
        {"template": "the year"},
        {"template": "plain"},
    ]


def test_clean_and_corrupted_prompts_have_the_same_answers(example):
    first, _ = items(example("clean.csv"), layout="transformer_lens")
    for text in (first.asked, first.counterfactual):
        assert (text.candidates, text.correct, text.joint) == (("Paris", "Warsaw"), (0,), " ")
    assert first.counterfactual.text == "The capital of Poland is the city of"


def test_columns_of_another_name_stand_for_those_of_a_layout(tmp_path):
    row = {"clean_prompt": "a", "corrupted": "b", "answer": "y", "wrong_answer": "n"}
    path = jsonl(tmp_path / "x.jsonl", row | {"corrupted_answer": "n"})
    (item,) = items(path, layout="transformer_lens", prompt_column="clean_prompt")
    assert (item.asked.text, correct(item.counterfactual)) == ("a", {"n"})
    with pytest.raises(BadRows, match="it has no column 'clean'"):
        items(path, layout="transformer_lens")


@pytest.mark.parametrize(
    ("column", "text", "candidates", "right"),
    [
        ("", "Mary gave the drink to", ("Mary", "John"), "John"),
        ("random_names_counterfactual", "Tom gave the drink to", ("Ann", "Tom"), "Ann"),
    ],
)
def test_a_row_of_ioi_has_its_choices_as_candidates(example, column, text, candidates, right):
    fields = {"counterfactual_column": column} if column else {}
    (item,) = items(example("ioi_mib.jsonl"), layout="mib", **fields)
    assert (item.asked.candidates, correct(item.asked)) == (("Mary", "John"), {"Mary"})
    assert item.asked.joint == " "
    assert item.counterfactual.text.endswith(text)
    assert (item.counterfactual.candidates, correct(item.counterfactual)) == (candidates, {right})


def test_a_row_of_arithmetic_has_both_answers_as_candidates(example):
    found = data(example("arithmetic_mib.jsonl"), layout="mib")
    (item,) = found.items
    assert (item.asked.candidates, item.asked.joint) == (("38", "58"), "")
    assert (correct(item.asked), correct(item.counterfactual)) == ({"38"}, {"58"})
    assert found.remarks[1:] == (
        "Rows left out, as the benchmark does, since they have no counterfactual: 1.",
    )


MCQA: dict[str, Any] = {
    "prompt": "A box is brown. What color is a box?\nA. gray\nB. brown\nAnswer:",
    "choices": {"label": ["A", "B"], "text": ["gray", "brown"]},
    "answerKey": 1,
    "symbol_counterfactual": {
        "prompt": "A box is brown. What color is a box?\n1. gray\n2. brown\nAnswer:",
        "choices": {"label": [1, 2], "text": ["gray", "brown"]},
        "answerKey": 1,
    },
}


@pytest.mark.parametrize(
    ("write", "name"), [(jsonl, "x.jsonl"), (as_csv, "x.csv"), (parquet, "x.parquet")]
)
def test_rows_of_the_benchmark_are_read_from_files_of_each_kind(tmp_path, write, name):
    (item,) = items(write(tmp_path / name, MCQA), layout="mib")
    assert (item.asked.candidates, item.asked.text) == (("B", "2"), MCQA["prompt"])
    assert correct(item.counterfactual) == {"2"}


OTHER = MCQA["symbol_counterfactual"]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"answerKey": 2}, "'answerKey' is 2, and the choices are 0 to 1"),
    ({"answerKey": True}, "'answerKey' is True, and the choices are 0 to 1"),
    ({"choices": {"text": ["a"]}}, "'choices' is not a list: None"),
    ({"choices": "A"}, "'choices' is not a list"),
    ({"symbol_counterfactual": 1}, "'symbol_counterfactual' is not an object: 1"),
    ({"symbol_counterfactual": OTHER | {"answerKey": -1}}, "in its counterfactual, 'answerKey' is"),
    ({"symbol_counterfactual": OTHER | {"choices": 1}}, "in its counterfactual, 'choices' is not"),
]


def test_bad_rows_of_the_benchmark_are_named(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", MCQA, *(MCQA | wrong for wrong, _ in BAD), {"prompt": "a"})
    with pytest.raises(BadRows) as refused:
        items(path, layout="mib")
    *bad, last = refused.value.rows
    for line, ((_, reason), row) in enumerate(zip(BAD, bad, strict=True), start=2):
        assert row.where == f"x.jsonl line {line}"
        assert row.reason.startswith(reason)
    assert last.reason == "it has no column 'label' (its columns: 'prompt')"


def test_rows_with_the_same_answer_are_left_out_and_a_file_of_them_is_refused(tmp_path):
    same = MCQA | {"symbol_counterfactual": OTHER | {"choices": ["A", "B"]}}
    path = jsonl(tmp_path / "x.jsonl", MCQA, same)
    assert "same answer: 1." in data(path, layout="mib").remarks[-1]
    with pytest.raises(Refused, match=r"No row of .*, since their counterfactual has the same a"):
        items(jsonl(path, same), layout="mib")


def test_the_page_names_every_column_and_option():
    recipe = DistributionSpec.model_fields.items()
    marks = ({OF: "files of completions"}, {OF: "any files"})
    of_pairs = [name for name, each in recipe if each.json_schema_extra in marks]
    assert len(of_pairs) == 9
    missing = [each for each in of_pairs if f"`{options.of_recipe(each)}`" not in PAGE]
    assert missing == []
    columns = {*PairColumns().names, *USUAL[Layout.TRANSFORMER_LENS].names}
    columns |= {*mib_rows.COUNTERFACTUALS, *USUAL[Layout.MIB].names}
    assert [each for each in sorted(columns) if each not in PAGE] == []
    assert json.loads(EXAMPLES["ioi_mib.jsonl"])["answerKey"] == 1
