"""What answers mean is judged over the whole file and said aloud, or refused."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analyses.prompts.answers import AmbiguousAnswers
from analyses.prompts.bad_rows import BadRows
from analyses.prompts.data import load
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.raw_row import BrokenTable

WORDS = ["oak", "rose", "moss", "fern"]
NUMBERS = [1, 2, 3, 4]


def data_of(tmp_path, answers, choices=WORDS):
    """A file of one question for each answer; `choices` are those of all, or one list for each."""
    each_has = choices if isinstance(choices[0], list) else [choices] * len(answers)
    rows = [
        {"question": f"{n}?", "choices": own, "answer": answer}
        for n, (answer, own) in enumerate(zip(answers, each_has, strict=True))
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path, **fields):
    found = load(DistributionSpec(data=f"file:{path}", **fields))
    return [item.answer for item in found.items], found.remarks


@pytest.mark.parametrize(
    ("answers", "choices", "right", "said"),
    [
        ([0, 3], WORDS, ["oak", "fern"], "are read as indices of choices, counted from 0."),
        ([4, 1, 2], WORDS, ["fern", "oak", "rose"], "are read as indices of choices, counted from"
         " 1."),
        (["4", "1"], WORDS, ["fern", "oak"], "counted from 1."),
        ([2, 1], WORDS, ["moss", "rose"], "(none is 0: if they count from 1, set answer_reading"),
        ([3, 5], [[2, 3, 4, 5]] * 2, ["3", "5"], "are read as texts of choices."),
        ([1, 0], NUMBERS, ["2", "1"], "counted from 0."),  # 0 is no choice
        (["A", "B"], [["B", "A"], ["x", "y"]], ["B", "y"], "are read as letters of choices."),
        (["A", "O"], [["B", "A"], ["O", "y"]], ["A", "O"], "are read as texts of choices."),
        (["b", "oak"], WORDS, ["rose", "oak"], "are letters in some rows, texts in others."),
        (["A", 1], WORDS, ["oak", "rose"], "that are words are read as letters of choices."),
    ],
)  # fmt: skip
def test_the_one_reading_that_fits_all_rows_is_taken_and_said(
    tmp_path, answers, choices, right, said
) -> None:
    found, remarks = read(data_of(tmp_path, answers, choices))
    assert found == right
    assert any(said in each for each in remarks)


@pytest.mark.parametrize(
    ("answers", "choices", "among"),
    [
        ([2, 3], NUMBERS, "from_0, text"),  # the n-th of numbers that are in their order
        (["2", "3"], [["3", "1", "2"], ["0", "3", "2"]], "text, from_1"),
        ([1], [["1", "0"]], "from_0, text"),
        (["A", "B"], [["B", "A"], ["B", "A"]], "letter, text"),
        ([1, 2] * 20, WORDS, "from_0, from_1"),  # 40 answers, and never the first nor the last
    ],
)
def test_what_may_be_read_in_two_ways_is_refused_with_a_way_out(
    tmp_path, answers, choices, among
) -> None:
    path = data_of(tmp_path, answers, choices)
    with pytest.raises(AmbiguousAnswers, match=r"x\.jsonl line 1\)") as refused:
        read(path)
    assert f"(--answer-reading): {among}" in str(refused.value)
    one, other = (read(path, answer_reading=each)[0] for each in among.split(", ")[:2])
    assert one != other


def test_the_reading_that_is_asked_for_must_fit_all_rows(tmp_path) -> None:
    path = data_of(tmp_path, [1, 4, 0, "rose"])
    with pytest.raises(BadRows) as refused:
        read(path, answer_reading="from_1")
    assert [row.where for row in refused.value.rows] == ["x.jsonl line 3", "x.jsonl line 4"]
    assert "is 0, and the choices are 1 to 4" in str(refused.value)


def test_an_answer_that_no_reading_fits_is_named_beside_those_that_could_be_two(tmp_path) -> None:
    path = data_of(tmp_path, [0, 9, 1], [WORDS, WORDS, ["1", "2", "3", "4"]])
    with pytest.raises(BadRows) as refused:
        read(path)
    assert "line 2: 'answer' is 9, and the choices are 0 to 3" in str(refused.value)
    assert "line 3: 'answer' is 1, which could be a choice's text" in str(refused.value)


def test_the_same_answers_in_a_table_are_judged_alike(tmp_path) -> None:
    with (tmp_path / "x.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["question", "a", "b", "c", "answer"])
        rows.writerows([[f"{n}?", "x", "y", "z", 1 + n % 3] for n in range(6)])
    found, remarks = read(tmp_path / "x.csv", choices_columns=("a", "b", "c"))
    assert found == ["x", "y", "z"] * 2
    assert "counted from 1" in remarks[0]


@pytest.mark.parametrize("key", ["answer", "question"])
def test_a_row_with_two_values_under_one_key_is_refused(tmp_path, key: str) -> None:
    row = '{"question": "q?", "choices": ["x", "y"], "answer": 0, "%s": 1}\n'
    (tmp_path / "x.jsonl").write_text(row % "other" + row % key)
    with pytest.raises(
        BadRows, match=rf"^1 of the 2 rows (?s:.*)line 2: it has the key '{key}' twice"
    ):
        read(tmp_path / "x.jsonl")


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path) -> None:
    columns = [pa.array(["q?"]), pa.array([["x", "y"]]), pa.array([0]), pa.array([1])]
    table = pa.Table.from_arrays(columns, names=["question", "choices", "answer", "answer"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(BrokenTable, match="two columns are called 'answer'"):
        read(tmp_path / "x.parquet")


def test_a_distribution_says_how_its_answers_were_read(tmp_path) -> None:
    path = data_of(tmp_path, [4, 1, 2])
    built = build(DistributionSpec(data=f"file:{path}", size=3))
    assert built.remarks == (
        "The answers in 'answer' are read as indices of choices, counted from 1.",
    )
    as_told = build(DistributionSpec(data=f"file:{path}", size=3, answer_reading="from_1"))
    assert as_told.hash == built.hash
    assert build(DistributionSpec(size=3)).remarks == ()
