"""Completions of one's own: read from files of three kinds and layouts, all bad rows named."""

import re
from typing import Any

import bench_pairs
import pytest
from local_hub import COMMIT
from pair_files import as_csv, correct, data, items, jsonl, only, parquet

from analyses.errors import Refused
from analyses.prompts.bad_rows import BadRows
from analyses.prompts.completions import Completion
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.spec import BadGroupColumn
from analyses.prompts.written import Span

IOI: dict[str, Any] = {
    "prompt": "When Mary and John went out, John gave a drink to",
    "correct": "Mary",
    "others": "John",
    "counterfactual": "When Mary and John went out, Mary gave a drink to",
    "counterfactual_correct": "John",
    "spans": {"io": [5, 9], "s2": [29, 33]},
    "counterfactual_spans": {"io": [14, 18], "s2": [29, 33]},
}
YEARS: dict[str, Any] = {
    "prompt": "The war lasted from 1732 to 17",
    "correct": ["33", "58"],
    "others": ["05", "21", "32"],
    "counterfactual": "The war lasted from 1701 to 17",
    "spans": {"noun": "war"},
}


@pytest.mark.parametrize(
    ("write", "name"), [(jsonl, "x.jsonl"), (as_csv, "x.csv"), (parquet, "x.parquet")]
)
@pytest.mark.parametrize("row", [IOI, YEARS], ids=["one correct", "several correct"])
def test_a_file_of_each_kind_holds_the_same_completions(tmp_path, write, name, row):
    item = only(write(tmp_path / name, row))
    assert item == only(jsonl(tmp_path / "x.jsonl", row))
    assert item.where.startswith(name)
    assert item.asked.text == row["prompt"]
    assert (item.id, item.topic) == ("completions/1", "completions")


def test_a_prompt_and_its_counterfactual_are_read_as_written(tmp_path):
    item = only(jsonl(tmp_path / "ioi.jsonl", IOI))
    spans = {"io": Span(5, 9), "s2": Span(29, 33)}
    assert item.asked == Completion(
        text=IOI["prompt"], joint=" ", candidates=("Mary", "John"), correct=(0,), spans=spans
    )
    assert item.counterfactual == Completion(
        text=IOI["counterfactual"],
        joint=" ",
        candidates=("Mary", "John"),
        correct=(1,),
        spans={"io": Span(14, 18), "s2": Span(29, 33)},
    )


def test_what_a_counterfactual_does_not_say_is_as_in_the_prompt(tmp_path):
    other = only(jsonl(tmp_path / "x.jsonl", YEARS)).counterfactual
    assert other.candidates == ("33", "58", "05", "21", "32")
    assert correct(other) == {"33", "58"}
    assert other.spans == {"noun": Span(4, 7)}  # looked for in the counterfactual too


def test_a_counterfactual_may_have_candidates_of_its_own(tmp_path):
    own = {"counterfactual_correct": "Rome", "counterfactual_others": ["Oslo"]}
    other = only(jsonl(tmp_path / "x.jsonl", IOI | own)).counterfactual
    assert (other.candidates, other.correct) == (("Rome", "Oslo"), (0,))
    same = {"counterfactual_correct": "John", "counterfactual_others": ["Mary"]}
    other = only(jsonl(tmp_path / "x.jsonl", IOI | same)).counterfactual
    assert (other.candidates, other.correct) == (("Mary", "John"), (1,))


@pytest.mark.parametrize(
    ("prompt", "candidates", "joined", "said"),
    [
        ("gave it to", (" Mary", " John"), "gave it to| |Mary", "after a space, as written"),
        ("gave it to ", ("Mary", "John"), "gave it to| |Mary", "after a space, as written"),
        ("gave it to", ("Mary", " John"), "gave it to| |Mary", "after a space, as written"),
        ("gave it to", ("Mary", "John"), "gave it to| |Mary", "after a space that is not written"),
        ("A:", ("Mary", "John"), "A:| |Mary", "after a space that is not written"),
        ("from 1732 to 17", ("33", "58"), "from 1732 to 17||33", "directly"),
        ("2+3=", (5, 6), "2+3=||5", "directly"),
        ('He said "', ("Yes", "No"), 'He said "||Yes', "directly"),
        ("A:\n", ("Yes", "No"), "A:\n||Yes", "directly"),
        ("法国的首都是", ("巴黎", "东京"), "法国的首都是||巴黎", "directly"),
        (
            "일본의 수도는",
            ("도쿄", "파리"),
            "일본의 수도는| |도쿄",
            "after a space that is not written",
        ),
    ],
)
def test_candidates_are_read_as_they_continue_the_prompt(
    tmp_path, prompt, candidates, joined, said
):
    first, second = candidates
    path = jsonl(tmp_path / "x.jsonl", {"prompt": prompt, "correct": first, "others": second})
    found = data(path)
    asked = found.items[0].asked
    assert f"{asked.text}|{asked.joint}|{asked.candidates[0]}" == joined
    (remark,) = found.remarks
    assert re.fullmatch(f"Rows whose candidates follow the prompt {said}.*: 1\\.", remark)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_spans_are_in_characters_of_the_prompt_as_given(tmp_path, newline):
    prompt = f"{newline}Ann,{newline}Tom gave it to"
    start = prompt.index("Tom")
    row = {"prompt": prompt, "correct": "Ann", "others": "Tom", "spans": {"s": [start, start + 3]}}
    asked = only(jsonl(tmp_path / "x.jsonl", row)).asked
    assert asked.text == "\nAnn,\nTom gave it to"
    assert asked.text[slice(*asked.spans["s"])] == "Tom"


def test_columns_may_have_other_names_and_groups_are_texts(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text,yes,no,kind,n,about\nIt is,good,bad,a b,1,every_day life\n")
    item = only(
        path,
        prompt_column="text",
        correct_column="yes",
        others_column="no",
        subject_column="about",
        group_columns=("kind", "n"),
    )
    assert item.asked.candidates == ("good", "bad")
    assert item.groups == {"kind": "a b", "n": "1"}
    assert (item.topic, item.id, item.counterfactual) == (
        "every day life",
        "every day life/1",
        None,
    )


GOOD: dict[str, Any] = {
    "prompt": "Ann saw Tom and",
    "correct": "Ann",
    "others": ["Tom"],
    "counterfactual": "Sue saw Tom and",
    "spans": {"b": "Tom"},
}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "'prompt' is not text: None"),
    ({"prompt": "  "}, "'prompt' is empty"),
    ({"prompt": "a\0"}, "'prompt' contains a lone surrogate or a null character"),
    ({"correct": None}, "'correct' is not text: None"),
    ({"correct": []}, "'correct' is empty, and at least one candidate is needed"),
    ({"others": []}, "'others' is empty, and at least one candidate is needed"),
    ({"others": ["Tom", ""]}, "'others' is empty"),
    ({"others": " Ann"}, "the candidate 'Ann' of the prompt appears twice"),
    ({"others": ["Tom", "Sue"]}, "it has 3 candidates, and x.jsonl line 1 has 2: all rows need as"),
    ({"others": [str(n) for n in range(100)]}, "the prompt has 101 candidates, and 2 to 100 are"),
    ({"counterfactual": ""}, "it has no counterfactual, unlike x.jsonl line 1: all rows need one"),
    ({"counterfactual": GOOD["prompt"]}, "the counterfactual is the prompt itself"),
    ({"counterfactual_correct": "Sue"}, "correct candidate 'Sue' is none of the prompt's: ['Ann',"),
    ({"counterfactual_correct": ["Ann", "Tom"]}, "all candidates of the counterfactual are corr"),
    ({"counterfactual_others": "Tom"}, "it has 'counterfactual_others', but no 'counterfactual_c"),
    (
        {"counterfactual_correct": "a", "counterfactual_others": ["b", "c"]},
        "the counterfactual has 3 candidates, and the prompt has 2",
    ),
    ({"spans": {}}, "it has the spans [], and x.jsonl line 1 has ['b']: all rows need the same"),
    ({"spans": ["b"]}, "'spans' is not an object of names and spans: ['b']"),
    ({"spans": {"b": "Bob"}}, "the span 'b' is not there: the prompt does not have 'Bob'"),
    ({"spans": {"b": "a"}}, "the span 'b' could be in several places: the prompt has 'a' more"),
    ({"spans": {"b": [4, 2]}}, "'spans' has [4, 2], which is neither [start, stop] within"),
    ({"spans": {"b": [0, 99]}}, "'spans' has [0, 99], which is neither [start, stop] within"),
    ({"spans": {"b": [0, 1.5]}}, "'spans' has [0, 1.5], which is neither"),
    ({"spans": {"last": "Tom"}}, "a span of 'spans' cannot be called 'last': use letters, digits"),
    ({"spans": {"b": [8, 11]}}, "the span 'b' of the prompt is not in the counterfactual: give"),
    ({"spans": {"b": "Ann"}}, "the span 'b' of the prompt is not in the counterfactual: give"),
    ({"counterfactual_spans": {"c": "Tom"}}, "the counterfactual has the span 'c', and the pr"),
    ({"counterfactual_spans": {"b": "x"}}, "'b' is not there: the counterfactual does not have"),
    ({"correct": "Tom", "others": "Ann"}, "the same prompt as x.jsonl line 1, with another answer"),
]


def test_all_bad_rows_are_named_with_line_and_reason(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", GOOD, *(GOOD | wrong for wrong, _ in BAD))
    with path.open("ab") as file:
        file.write(b'\n{"correct": "Ann"}\n{not JSON\n\xff\n')
    with pytest.raises(BadRows) as refused:
        items(path)
    assert str(refused.value).startswith(
        f"{len(BAD) + 3} of the {len(BAD) + 4} rows of file:{path} cannot be used."
    )
    for line, ((_, reason), bad) in enumerate(zip(BAD, refused.value.rows, strict=False), start=2):
        assert bad.where == f"x.jsonl line {line}"
        assert reason in bad.reason
    last = [
        f"{bad.where.removeprefix('x.jsonl ')}: {bad.reason}" for bad in refused.value.rows[-3:]
    ]
    assert re.match(r"line \d+: it has no column 'prompt' \(its columns: 'correct'\)", last[0])
    assert "it is not JSON" in last[1]
    assert "it is not UTF-8" in last[2]


def test_rows_that_only_repeat_another_are_left_out_and_counted(tmp_path):
    again = YEARS | {"others": ["32", "05", "21"], "correct": ["58", "33"]}
    elsewhere = YEARS | {"counterfactual": "The war lasted from 1711 to 17"}
    found = data(jsonl(tmp_path / "x.jsonl", YEARS, again, elsewhere))
    assert [each.where for each in found.items] == ["x.jsonl line 1", "x.jsonl line 3"]
    assert found.repeated == 1
    built = build(DistributionSpec(data=f"file:{tmp_path / 'x.jsonl'}", layout="pairs", size=2))
    assert "Rows left out, since they only repeat another: 1." in built.remarks


def test_a_prompt_that_is_anothers_counterfactual_is_of_its_unit(tmp_path):
    def row(prompt: str, counterfactual: str) -> dict[str, str]:
        texts = {"prompt": prompt, "counterfactual": counterfactual}
        return texts | {"correct": "y", "others": "n"}

    pairs = [("d", "c"), ("x", "y"), ("b", "c"), ("a", " b "), ("z", "v")]
    found = items(jsonl(tmp_path / "x.jsonl", *(row(*pair) for pair in pairs)))
    # Two prompts with one counterfactual, c, may be in different splits.
    assert [each.unit for each in found] == ["d", "x", "a", "a", "z"]


def test_a_row_that_repeats_another_with_other_spans_is_refused(tmp_path):
    row = {"prompt": "a b", "correct": "y", "others": "n"}
    with pytest.raises(BadRows, match=r"^1 of the 2 rows.*\n.*: it repeats x.jsonl line 1 with"):
        items(jsonl(tmp_path / "x.jsonl", row | {"spans": {"p": "a"}}, row | {"spans": {"p": "b"}}))
    pair = row | {"counterfactual": "b b a", "spans": {"p": "a"}}
    others = ({"counterfactual_spans": {"p": [at, at + 1]}} for at in (0, 4))
    with pytest.raises(BadRows, match=r"^1 of the 2 rows.*\n.*: it repeats y.jsonl line 1 with"):
        items(jsonl(tmp_path / "y.jsonl", *(pair | other for other in others)))


@pytest.mark.parametrize("column", ["Template", "prompt type", "2", "of", "keys"])
def test_a_column_of_groups_must_be_a_name_for_scores(column):
    with pytest.raises(BadGroupColumn, match=f"{column!r} cannot be a group.*'template'"):
        DistributionSpec(data="file:/x.jsonl", layout="pairs", group_columns=(column,))


def test_spans_are_in_the_order_of_the_first_row(tmp_path):
    row = {"prompt": "a b", "correct": "y", "others": "n", "spans": {"p": "a", "q": "b"}}
    rows = [row, row | {"prompt": "b a", "spans": {"q": "b", "p": "a"}}]
    _, second = items(jsonl(tmp_path / "x.jsonl", *rows))
    assert list(second.asked.spans.items()) == [("p", Span(2, 3)), ("q", Span(0, 1))]


def test_a_group_has_few_values(tmp_path):
    rows = [{"prompt": f"{n}", "correct": "y", "others": "n", "g": min(n, 51)} for n in range(60)]
    with pytest.raises(BadRows, match="'g' is '50', and a column of groups may have 50") as refused:
        items(jsonl(tmp_path / "x.jsonl", *rows), group_columns=("g",))
    assert len(refused.value.rows) == 10
    assert len(items(tmp_path / "x.jsonl")) == 60


def test_a_folder_and_a_hub_data_set_are_read(tmp_path, hub_server):
    folder = tmp_path / "ioi"
    folder.mkdir()
    (folder / "README.md").write_text("Pairs.")
    parquet(folder / "test-00000-of-00001.parquet", IOI)
    hub_server.data_sets["some/ioi"] = folder
    (of_folder,), (of_hub,) = items(f"folder:{folder}"), items(f"hub:some/ioi@{COMMIT}")
    assert of_folder == of_hub
    assert of_hub.id == "completions/1"


def test_a_distribution_has_the_prompts_of_a_file(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", IOI)
    built = build(DistributionSpec(data=f"file:{path}", layout="pairs", size=1))
    (prompt,) = built.prompts
    assert (prompt.text, prompt.labels, prompt.correct) == (IOI["prompt"], ("Mary", "John"), (0,))
    with pytest.raises(Refused, match="has no column 'question'"):
        build(DistributionSpec(data=f"file:{path}", size=1))


@pytest.mark.parametrize("layout", ["pairs", "transformer_lens", "mib"])
def test_an_empty_file_is_refused(tmp_path, layout):
    with pytest.raises(Refused, match=r"has no rows\. Give at least one prompt"):
        items(jsonl(tmp_path / "x.jsonl"), layout=layout)


@pytest.mark.slow
def test_a_large_file_takes_memory_for_its_completions_only(tmp_path):
    path = tmp_path / "x.jsonl"
    bench_pairs.write(path, 100_000, padding=4_000)
    taken = bench_pairs.measured(path)
    assert taken.items == 100_000
    assert taken.held < 100_000 * 3_500 < path.stat().st_size
