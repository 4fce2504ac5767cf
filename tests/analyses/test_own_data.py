"""Questions of one's own: read from three kinds of files, and every bad row named at once."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from local_hub import COMMIT
from questions import questions

from analyses.errors import Refused
from analyses.prompts.bad_rows import BadRows
from analyses.prompts.data import load
from analyses.prompts.distributions import DistributionSpec, build

ROWS = [
    {"question": "Which is red?", "choices": ["blood", "grass", "snow"], "answer": 0,
     "subject": "every_day life"},
    {"question": "Which is\r\ngreen?", "choices": ["blood", "grass", "snow"], "answer": 1,
     "subject": "nature"},
    {"question": " Wie heißt das? ", "choices": ["Käse", "Brötchen", "東京"], "answer": 2,
     "subject": None},
]  # fmt: skip


OAK = {"question": "Which is a tree?", "choices": ["oak", "rose"], "answer": 0, "subject": "nature"}


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(["question", "choices", "answer", "subject"])
        for row in rows:
            choices = json.dumps(row["choices"])
            writer.writerow([row["question"], choices, row["answer"], row["subject"]])
    return path


def parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def items(path, **fields):
    return load(DistributionSpec(data=f"file:{path}", **fields)).items


@pytest.mark.parametrize(
    ("write", "name"), [(jsonl, "x.jsonl"), (as_csv, "x.csv"), (parquet, "x.parquet")]
)
def test_a_file_of_each_kind_holds_the_same_questions(tmp_path, write, name):
    first, second, third = items(write(tmp_path / name, ROWS))
    assert (first.question, first.answer, first.distractors) == (
        "Which is red?",
        "blood",
        ("grass", "snow"),
    )
    assert (first.topic, first.id) == ("every day life", "every day life/1")
    assert second.question == "Which is\ngreen?"
    assert (third.question, third.answer, third.topic) == (
        "Wie heißt das?",
        "東京",
        "general knowledge",
    )


def test_the_hash_is_that_of_the_questions_wherever_they_lie(tmp_path):
    hashes = set()
    for write, name in [(jsonl, "x.jsonl"), (as_csv, "y.csv"), (parquet, "z.parquet")]:
        path = write(tmp_path / name, ROWS)
        hashes.add(build(DistributionSpec(data=f"file:{path}", options=3, size=3)).hash)
    assert len(hashes) == 1
    changed = jsonl(tmp_path / "x.jsonl", [*ROWS[:2], ROWS[2] | {"answer": 1}])
    assert build(DistributionSpec(data=f"file:{changed}", options=3, size=3)).hash not in hashes


def test_columns_may_have_other_names_and_choices_a_column_each(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("q,a,b,c,right\nWhich?,one,two,three,B\nWhat?,four,five,six,six\n")
    first, second = items(
        path,
        question_column="q",
        choices_columns=("a", "b", "c"),
        answer_column="right",
    )
    assert (first.answer, first.distractors) == ("two", ("one", "three"))
    assert second.answer == "six"


@pytest.mark.parametrize(
    ("choices", "answer", "right"),
    [
        (["x", "y"], 1, "y"),
        (["x", "y"], "1", "y"),
        (["x", "y"], "B", "y"),
        (["x", "y"], "b", "y"),
        (["x", "y"], "y", "y"),
        ([3, 2.5], 1, "2.5"),
        (["A", "B"], "B", "B"),  # text and letter are the same choice
    ],
)
def test_an_answer_is_an_index_a_letter_or_the_text(tmp_path, choices, answer, right):
    row = {"question": "?", "choices": choices, "answer": answer}
    assert items(jsonl(tmp_path / "x.jsonl", [row]))[0].answer == right


BAD = [
    ({"choices": ["x", "y"], "answer": 0}, "it has no column 'question' (its columns: 'choices',"),
    ({"question": None, "choices": ["x", "y"], "answer": 0}, "'question' is not text: None"),
    ({"question": "  ", "choices": ["x", "y"], "answer": 0}, "'question' is empty"),
    (
        {"question": "a\0?", "choices": ["x", "y"], "answer": 0},
        "'question' contains a lone surrogate",
    ),
    ({"question": "?", "choices": "x", "answer": 0}, "'choices' is not a list: 'x'"),
    ({"question": "?", "choices": ["x"], "answer": 0}, "it has 1 choices, at least 2 are needed"),
    ({"question": "?", "choices": ["x", " x"], "answer": 0}, "the choice 'x' appears twice"),
    ({"question": "?", "choices": ["x", ""], "answer": 0}, "'choices' is empty"),
    ({"question": "?", "choices": ["x", True], "answer": 0}, "'choices' is not text: True"),
    ({"question": "?", "choices": ["x", "y"], "answer": 2}, "is 2, and the choices are 0 to 1"),
    ({"question": "?", "choices": ["x", "y"], "answer": -1}, "is -1, and the choices are 0 to 1"),
    ({"question": "?", "choices": ["x", "y"], "answer": "z"}, "no choice, no index and no letter"),
    ({"question": "?", "choices": ["x", "y"], "answer": None}, "not an index, a letter"),
    ({"question": "?", "choices": ["1", "0"], "answer": "1"}, "could be a choice's text or its"),
    ({"question": "?", "choices": ["B", "A"], "answer": "A"}, "could be a choice's text or its"),
    ({"question": "same", "choices": ["y", "x"], "answer": 0}, "asks the same as x.jsonl line 1, "),
    ([1, 2], "it is not a JSON object"),
]


def test_all_bad_rows_are_named_with_line_and_reason(tmp_path):
    good = {"question": "same", "choices": ["x", "y"], "answer": 0}
    path = jsonl(tmp_path / "x.jsonl", [good, *(row for row, _ in BAD)])
    with path.open("ab") as file:
        file.write(b"\n{not JSON\n\xff\n")
    with pytest.raises(BadRows) as refused:
        items(path)
    said = str(refused.value)
    assert said.startswith(f"{len(BAD) + 2} of the {len(BAD) + 3} rows of file:{path} cannot be")
    where = [row.where for row in refused.value.rows]
    lines = [*range(2, len(BAD) + 2), len(BAD) + 3, len(BAD) + 4]  # one line is blank
    assert where == [f"x.jsonl line {line}" for line in lines]
    for line, (_, reason) in enumerate(BAD, start=2):
        assert reason in said.split(f"  x.jsonl line {line}: ")[1].partition("\n")[0]
    assert "it is not JSON" in refused.value.rows[-2].reason
    assert refused.value.rows[-1].reason == "it is not UTF-8"


def test_a_csv_row_of_another_width_is_named_with_the_line_it_ends_in(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('question,choices,answer\n"two\nlines?","[""x"",""y""]",0\nshort,x\n')
    with pytest.raises(BadRows, match=r"x\.csv line 4: it has 2 cells, but the header has 3"):
        items(path)


def test_rows_that_only_repeat_another_are_left_out_and_counted(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [*ROWS, ROWS[0] | {"choices": ["snow", "grass", "blood"],
                                                          "answer": 2}])  # fmt: skip
    built = build(DistributionSpec(data=f"file:{path}", options=3, size=3))
    assert (built.repeated, len(built.prompts)) == (1, 3)


def test_more_options_than_a_row_has_are_refused_with_counts(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [*ROWS, {"question": "?", "choices": "xyzw", "answer": 0}
                                        | {"choices": list("xyzw")}])  # fmt: skip
    with pytest.raises(Refused, match=r"4 options .* 3 of the 4 items of .* \(the fewest: 3\)"):
        build(DistributionSpec(data=f"file:{path}", options=4, size=1))


def test_fixed_choices_are_asked_once_and_split_by_item(tmp_path):
    rows = [
        {"question": f"{n}?", "choices": [f"{n} {c}" for c in "abcd"], "answer": n % 4}
        for n in range(200)
    ]
    data = f"file:{jsonl(tmp_path / 'x.jsonl', rows)}"
    whole = build(DistributionSpec(data=data, size=200))
    assert len({item.id for item in whole.items}) == 200
    with pytest.raises(Refused, match=r"200 items, which give 200 different prompts .*1 to 200"):
        build(DistributionSpec(data=data, size=201))
    halves = {}
    for split in ("train", "test"):
        with pytest.raises(Refused, match=rf"items in {split}") as refused:
            build(DistributionSpec(data=data, size=200, split=split))
        size = int(str(refused.value).split("from 1 to ")[1].rstrip("."))
        built = build(DistributionSpec(data=data, size=size, split=split))
        halves[split] = {item.id for item in built.items}
        assert built.left_out == 200 - size
    assert not halves["train"] & halves["test"]
    assert len(halves["train"] | halves["test"]) == 200
    assert 20 < len(halves["test"]) < 60


def test_a_folder_is_read_file_by_file(tmp_path):
    (tmp_path / "law").mkdir()
    parquet(tmp_path / "law" / "test.parquet", ROWS[:1])
    jsonl(tmp_path / "a.jsonl", ROWS[1:])
    (tmp_path / "README.md").write_text("no data")
    found = load(DistributionSpec(data=f"folder:{tmp_path}")).items
    assert [item.answer for item in found] == ["grass", "東京", "blood"]
    jsonl(tmp_path / "law" / "b.jsonl", [{}])
    with pytest.raises(BadRows, match=r"law/b\.jsonl line 1: it has no column 'question'"):
        load(DistributionSpec(data=f"folder:{tmp_path}"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("file:{}/none.jsonl", "No file at"),
        ("folder:{}/none", "No folder at"),
        ("folder:{}/empty", "Files must end in .jsonl, .csv, .parquet"),
        ("file:{}/x.txt", "Save it as one of .jsonl, .csv, .parquet"),
        ("file:{}/empty.jsonl", "has no rows"),
        ("file:{}/broken.parquet", "broken.parquet cannot be read"),
        ("file:{}/latin.csv", "latin.csv is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, data, says):
    (tmp_path / "empty").mkdir()
    for name in ("x.txt", "empty.jsonl", "broken.parquet"):
        (tmp_path / name).touch()
    (tmp_path / "latin.csv").write_bytes("question,choices,answer\nKäse?,x,0\n".encode("latin-1"))
    with pytest.raises(Refused, match=says):
        build(DistributionSpec(data=data.format(tmp_path)))


def test_files_outside_the_roots_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    inside = jsonl(tmp_path / "data" / "x.jsonl", ROWS)
    outside = jsonl(tmp_path / "x.jsonl", ROWS)
    link = tmp_path / "data" / "link.jsonl"
    link.symlink_to(outside)
    roots = [tmp_path / "data"]
    assert load(DistributionSpec(data=f"file:{inside}"), roots=roots).items
    for path in (outside, link, tmp_path / "data" / ".." / "x.jsonl"):
        with pytest.raises(Refused, match="is outside the data roots"):
            load(DistributionSpec(data=f"file:{path}"), roots=roots)
    with pytest.raises(Refused, match="is outside the data roots"):
        load(DistributionSpec(data=f"folder:{tmp_path}"), roots=roots)


def mmlu(folder: Path) -> Path:
    """A data set in the layout of MMLU: a folder for each config, parquet files for each split."""
    for name, rows in (
        ("all/test-00000-of-00002", ROWS[:1]),
        ("all/test-00001-of-00002", ROWS[1:]),
        ("all/dev-00000-of-00001", [OAK]),
        ("law/test-00000-of-00001", ROWS[1:]),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / "README.md").write_text("Questions.")
    (folder / "mmlu.py").write_text("raise SystemExit")
    return folder


def test_a_hub_data_set_is_read_at_its_revision(hub_server, tmp_path):
    hub_server.data_sets["cais/mmlu"] = mmlu(tmp_path / "mmlu")
    for part, answers in (
        ("", ["blood", "grass", "東京"]),
        (":law:test", ["grass", "東京"]),
        (":all:dev", ["oak"]),
    ):
        found = load(DistributionSpec(data=f"hub:cais/mmlu{part}@{COMMIT}")).items
        assert [item.answer for item in found] == answers
    assert not [path for path in hub_server.asked if path.endswith(".py")]


def test_a_hub_data_set_and_its_files_in_a_folder_are_the_same_questions(hub_server, tmp_path):
    folder = mmlu(tmp_path / "mmlu")
    hub_server.data_sets["cais/mmlu"] = folder
    of_hub = load(DistributionSpec(data=f"hub:cais/mmlu@{COMMIT}"))
    of_files = load(DistributionSpec(data=f"folder:{folder}:all:test"))
    assert of_files == of_hub
    everything = load(DistributionSpec(data=f"folder:{folder}"))
    assert "oak" in {item.answer for item in everything.items}
    with pytest.raises(Refused, match="No matching file found"):
        load(DistributionSpec(data=f"folder:{folder}:all:validation"))


def test_a_part_that_a_hub_data_set_lacks_is_refused_with_those_it_has(hub_server, tmp_path):
    hub_server.data_sets["cais/mmlu"] = mmlu(tmp_path / "mmlu")
    with pytest.raises(Refused, match=r"no parquet files of 'art', 'test'.*law/test-00000"):
        load(DistributionSpec(data=f"hub:cais/mmlu:art:test@{COMMIT}"))


def test_a_hub_that_does_not_have_it_is_one_sentence(hub_server):
    with pytest.raises(Refused, match=r"hub:cais/mmlu@.* was not found on the hub"):
        load(DistributionSpec(data=f"hub:cais/mmlu@{COMMIT}"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", 'question,choices,answer\nq,"[""a"", ""b""]",0\nq,"[""a""]"x,0\nq,y,0\n',
         r"2 of the 3 rows.*line 3: it is not CSV.*line 4: 'choices' is not a list"),
        ("x.csv", "question,answer,answer,choices\n", "two columns are called 'answer'"),
        ("x.jsonl", "[" * 100_000, "line 1: its JSON cannot be read"),
        ("x.jsonl", json.dumps(ROWS[0] | {"answer": "1" * 5000}), "'answer' is '111"),
        ("x.jsonl", json.dumps(ROWS[0] | {"choices": [float("nan"), 1.5]}), "a finite number: nan"),
        ("x.jsonl", json.dumps(ROWS[0] | {"subject": "s" * 3000}), "over 200 characters"),
    ],
)  # fmt: skip
def test_rows_of_every_bad_form_are_named(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(Refused, match=f"(?s){says}"):
        load(DistributionSpec(data=f"file:{tmp_path / name}"))


def test_a_byte_that_is_not_utf8_is_named_by_its_line(tmp_path):
    lines = [f'q{n},"[""a"", ""b""]",0' for n in range(3000)]
    content = "\n".join(["question,choices,answer", *lines, "Käse,x,0"]).encode("latin-1")
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(Refused, match=r"is not UTF-8 text: .* in line 3002"):
        load(DistributionSpec(data=f"file:{tmp_path / 'x.csv'}"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("~nosuchuser/x.csv", "No file at"),
        ("x" * 900 + ".csv", "No file at"),
        ("a\0b.csv", r"contains U\+0000, a control character"),
    ],
)
def test_a_file_that_cannot_be_is_refused(name, says):
    with pytest.raises(Refused, match=says):
        load(DistributionSpec(data=f"file:{name}"))


def test_shots_never_ask_what_the_prompt_asks(tmp_path):
    """Also where a file asks the same in several rows, beside other options."""
    rows = [
        {"question": f"q{n % 5}?", "choices": [f"right {n % 5}", f"a{n}", f"b{n}"], "answer": 0}
        for n in range(20)
    ]
    spec = DistributionSpec(
        data=f"file:{jsonl(tmp_path / 'x.jsonl', rows)}", options=3, shots=3, size=20
    )
    for plan in questions(spec).plans:
        asked = [plan.asked.item.question, *(shot.item.question for shot in plan.shots)]
        assert len(set(asked)) == 4
    with pytest.raises(Refused, match="has 4 others"):
        build(spec.model_copy(update={"shots": 5}))
