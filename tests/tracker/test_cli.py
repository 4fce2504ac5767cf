"""The commands print tables for people, JSON for programs, and one sentence when they cannot."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from questions import base_and_source, questions
from stack import Stack
from stored_runs import add_distribution, add_model, finished_run
from typer.testing import CliRunner

from analyses.bootstrap import Statistics
from analyses.engine import closure
from analyses.prompts import distributions
from analyses.prompts.distributions import DistributionSpec
from analyses.prompts.pairing import pairs
from analyses.prompts.sources import SourceKind
from analyses.quantities import Quantity
from analyses.results import Component, Kind, ScoreKey
from analyses.stored import ScoreDescription
from tracker.cli import app, main
from tracker.database.db import Sessions, transaction
from tracker.domain.run_notes import RunNotes
from tracker.store import studies
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import MakeRun, Submit


@pytest.fixture
def cli(sessions: Sessions, database_url: str, tmp_path: Path) -> Stack:
    """Commands on the test's database, on a home where nothing runs."""
    return Stack(tmp_path / "home", DATABASE_URL=database_url)


def test_lists_are_empty_in_words_and_in_json(cli: Stack) -> None:
    assert "headbook models add" in cli.headbook("models", "list")
    assert "headbook submit" in cli.headbook("runs", "list")
    for words in (("models", "list"), ("runs", "list")):
        assert cli.json(*words) == []


def test_an_analysis_is_listed_with_the_bounds_of_its_parameters(cli: Stack) -> None:
    listed = {each["name"]: each for each in cli.json("analyses", "list")}
    assert list(listed) == [
        "attention",
        "attribution",
        "bases",
        "behaviour",
        "categorise",
        "cumulative",
        "label_randomisation",
        "patching",
        "paths",
        "subspace",
    ]
    attribution = listed["attribution"]
    assert attribution["version"] == 1
    batch_size = attribution["params"]["properties"]["batch_size"]
    assert (batch_size["minimum"], batch_size["maximum"], batch_size["default"]) == (1, 256, 8)
    assert "attribution" in cli.headbook("analyses", "list")


def test_an_analysis_is_shown_with_what_its_numbers_mean(cli: Stack) -> None:
    found = cli.json("analyses", "show", "patching")
    moved = next(each for each in found["scores"] if each["metric"] == "moved")
    assert moved["where"][0] == ["head", "z"]
    assert moved["unit"] == "share"
    assert found["plots"] == ["direct_total", "reads", "positions"]
    said = cli.headbook("analyses", "show", "patching")
    assert said.startswith("## patching")
    assert moved["meaning"] in said
    assert "Did you mean 'patching'" in cli.refusal("analyses", "show", "patchin")
    assert "smallest_set" in cli.headbook("analyses", "list")


def test_the_page_about_analyses_is_held_against_what_they_say(cli: Stack, tmp_path: Path) -> None:
    page = tmp_path / "analyses.md"
    page.write_text(cli.headbook("analyses", "docs"))
    assert cli.headbook("analyses", "docs", "--check", str(page)) == ""
    page.write_text(page.read_text().replace("| high |", "| low |", 1))
    done = cli.run("analyses", "docs", "--check", str(page))
    assert done.returncode == 1
    assert f"Regenerate it: headbook analyses docs > {page}" in done.stderr
    (was,) = [line for line in done.stderr.splitlines() if line.startswith("-|")]
    assert "| low |" in was
    assert cli.headbook("analyses", "docs", "behaviour").count("\n## ") == 1


@pytest.mark.slow
def test_a_model_is_checked_without_a_database(tmp_path: Path, model_folder: Path) -> None:
    cli = Stack(tmp_path / "home")
    found = cli.json("models", "check", str(model_folder), "--prompts", "4")
    assert (found["family"], found["closes"]) == ("llama", True)
    assert 0 < found["largest_gap"] < 1e-5
    for each in found["behaviour"].values():
        assert each["n"] == 4
        assert {"accuracy", "label_mass"} <= each.keys()
    assert found["distrust"]
    said = cli.headbook("models", "check", str(model_folder), "--prompts", "4")
    assert "every layer closes" in said
    assert "Not to be trusted" in said


@pytest.mark.parametrize("command", [["check"], ["add", "--here"]], ids=" ".join)
def test_what_a_familys_own_code_raises_is_one_sentence(
    model_folder: Path,
    database_url: str,
    sessions: Sessions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    def raises(*_: object, **_choices: object) -> None:
        raise IndexError("index 70 is out of bounds\nfor dimension 0 with size 64")

    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaMLP.forward", raises)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["headbook", "models", *command, str(model_folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Error: The proof of" in said
    assert "a 'llama' model, ended with IndexError: index 70 is out of bounds for" in said
    assert "Traceback" not in said


def test_a_model_that_does_not_close_is_told_so(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(closure.TOLERANCE, torch.float32, 1e-12)
    ended = CliRunner().invoke(app, ["models", "check", str(model_folder), "--json"])
    assert ended.exit_code == 1
    found = json.loads(ended.stdout)
    assert not found["closes"]
    assert found["largest_gap"] > 1e-12
    assert "do not agree" in found["distrust"][0]


def test_a_distribution_is_shown_down_to_every_prompt(cli: Stack) -> None:
    shown = cli.json("distributions", "show", "facts", "--prompts", "3", "--prompt-seed", "5")
    built = questions(DistributionSpec(size=3, seed=5))
    assert shown["hash"] == built.hash
    for prompt, expected in zip(shown["prompts"], built.prompts, strict=True):
        assert prompt["text"] == expected.text
        assert prompt["labels"] == ["A", "B", "C", "D"]
        assert prompt["options"] == list(expected.options)
        assert prompt["correct"] == expected.correct_option
    assert built.prompts[2].text in cli.headbook(
        "distributions", "show", "facts", "--prompts", "3", "--prompt-seed", "5"
    )


def test_every_field_of_a_recipe_is_an_option(cli: Stack) -> None:
    words = shlex.split(
        "--options 3 --shots 1 --separators 'A)' --no-prelude --split test --prompts 4"
    )
    shown = cli.json("distributions", "show", "colours/mmlu/random_letters", *words)
    spec = DistributionSpec.parse(
        "colours/mmlu/random_letters",
        options=3,
        shots=1,
        separators="A)",
        prelude=False,
        split="test",
        size=4,
    )
    assert shown["hash"] == distributions.build(spec).hash
    assert shown["spec"] == spec.model_dump(mode="json")


def test_used_distributions_say_what_they_were_made_with(cli: Stack, submit: Submit) -> None:
    submit(distribution=DistributionSpec(size=8, options=3, split="test"))
    (used,) = cli.json("distributions", "list")["used"]
    assert (used["recipe"]["options"], used["recipe"]["split"]) == (3, "test")
    assert "options=3, split=test" in cli.headbook("distributions", "list")


def test_sources_are_shown_beside_their_prompts(cli: Stack) -> None:
    words = ("distributions", "show", "facts", "--prompts", "5", "--sources", "position_symbol")
    shown = cli.json(*words, "--source-seed", "1")
    made = pairs(distributions.build(DistributionSpec(size=5)), SourceKind.POSITION_SYMBOL, seed=1)
    assert [each["source"]["text"] for each in shown["sources"]] == [
        pair.source.text for pair in made
    ]
    assert [each["base"] for each in shown["sources"]] == [0, 1, 2, 3, 4]
    assert shown["sources"][0]["differs"] == ["options", "labels", "position", "label"]
    base, source = base_and_source(made[0])
    (line,) = {
        line
        for line in cli.headbook(*words, "--source-seed", "1").splitlines()
        if base.options[0] in line and source.options[0] in line
    }
    assert line.index(f"({base.labels[0]}) ") == 0


def test_a_file_of_questions_is_shown_or_refused_row_by_row(cli: Stack, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("q,right,wrong,key\nWhich?,yes,no,0\nWhat?,this,that,B\n")
    words = ("distributions", "show", f"file:{path}", "--options", "2", "--prompts", "2")
    columns = shlex.split("--question-column q --choices-column right --choices-column wrong")
    shown = cli.json(*words, *columns, "--answer-column", "key")
    answers = {each["options"][each["correct"]] for each in shown["prompts"]}
    assert answers == {"yes", "that"}
    assert shown["remarks"] == [
        "The answers in 'key' are read as indices of choices, counted from 0.",
        "The answers in 'key' that are words are read as letters of choices.",
    ]
    read_so = ("--answer-reading", "text", "--option-references", "keep")
    assert "it is none of the texts of choices" in cli.refusal(
        *words, *columns, "--answer-column", "key", *read_so
    )
    path.with_name("from_1.jsonl").write_text(
        '{"question": "Which?", "choices": ["yes", "no"], "answer": 2}\n'
    )
    said = cli.headbook(*words[:2], f"file:{tmp_path}/from_1.jsonl", *words[3:5], "--prompts", "1")
    assert "The answers in 'answer' are read as indices of choices, counted from 1." in said
    said = cli.refusal(*words)
    assert "2 of the 2 rows" in said
    assert "mine.csv line 2: it has no column 'question'" in said
    assert "mine.csv line 3: it has no column 'question'" in said


def test_a_run_is_shown_with_its_events_and_found_by_how_its_id_begins(
    cli: Stack, sessions: Sessions, make_run: MakeRun
) -> None:
    run = make_run()
    with transaction(sessions) as session:
        studies.add_to_study(session, name="scan", created_by="ada", runs=[run.id])
    (line,) = cli.json("runs", "list", "--state", "queued")
    assert line["id"] == str(run.id)
    assert cli.json("runs", "list", "--state", "failed") == []
    shown = cli.json("runs", "show", str(run.id)[:13])
    assert [event["event"] for event in shown["events"]] == ["queued"]
    assert list(shown["studies"].values()) == ["scan"]
    assert "facts/chinchilla/ABCD" in cli.headbook("runs", "show", str(run.id))
    assert "cancelled" in cli.headbook("runs", "cancel", str(run.id))
    assert (used := cli.json("distributions", "list")["used"])[0]["runs"] == 1
    assert used[0]["name"] == "facts/chinchilla/ABCD"


def test_a_run_is_shown_with_those_it_needs_and_those_that_need_it(
    cli: Stack, make_run: MakeRun
) -> None:
    needed = make_run()
    run = make_run(inputs={"bases": needed.id})
    short = str(needed.id)[:8]
    assert f"waiting for run {short} (attribution)" in cli.headbook("runs", "list")
    shown = cli.headbook("runs", "show", str(run.id))
    assert f"queued: waiting for run {short} (attribution)" in shown
    assert f"bases: {short} (attribution), queued" in shown
    (link,) = cli.json("runs", "show", str(needed.id))["dependants"]
    assert (link["id"], link["name"]) == (str(run.id), "bases")
    cli.headbook("runs", "cancel", str(needed.id))
    (line,) = cli.json("runs", "list", "--limit", "1")
    assert line["reason"].endswith("was cancelled: cancelled by a person")


def test_scores_are_the_same_in_a_table_in_csv_and_in_json(
    cli: Stack, submit: Submit, bench: WorkerContext
) -> None:
    run = submit().run
    assert "has no such scores. It is queued" in cli.headbook("scores", str(run.id))
    work(bench, hint=None)
    as_json = cli.json("scores", str(run.id), "--kind", "head")
    as_csv = list(
        csv.DictReader(io.StringIO(cli.headbook("scores", str(run.id), "--kind", "head", "--csv")))
    )
    assert len(as_json) == len(as_csv) == 8
    for one, other in zip(as_json, as_csv, strict=True):
        assert {name: "" if value is None else str(value) for name, value in one.items()} == other
    strongest = cli.json("scores", str(run.id), "--kind", "head", "--top", "2")
    by_size = sorted(as_json, key=lambda score: -abs(score["mean"]))
    assert strongest == by_size[:2]
    assert f"L{strongest[0]['layer']:02d}.H{strongest[0]['index']:02d}" in cli.headbook(
        "scores", str(run.id), "--kind", "head", "--top", "1"
    )


LEARNT = ("subspace", "label_randomisation")


def test_an_analysis_that_learns_may_be_asked_for_without_more_options(cli: Stack) -> None:
    cli.headbook("models", "add", "mcq-small")
    about = ("--model", "mcq-small", "--distribution", "colours")
    for name in LEARNT:
        said = cli.headbook("submit", name, *about)
        assert f"The prompts are of split 'test', as {name} needs them." in said
        assert ": queued" in said
    queued = {each["analysis"]: each["recipe"]["split"] for each in cli.json("runs", "list")}
    assert queued == {**dict.fromkeys(LEARNT, "test"), "bases": "train", "patching": "train"}
    assert "Take split 'test'" in cli.refusal("submit", LEARNT[0], *about, "--split", "all")


def test_a_split_that_is_as_usual_makes_the_same_run_said_or_unsaid(
    cli: Stack, submit: Submit
) -> None:
    first = submit(params={}).run  # of split all, as its recipe is by default
    words = ("submit", "attribution", "--model", "tiny", "--distribution", "facts")
    for more in ((), ("--split", "all")):
        queued = cli.json(*words, "--prompts", "8", *more)
        assert (queued["new"], queued["run"]["id"]) == (False, str(first.id))


def test_the_strongest_of_an_order_are_its_first(
    cli: Stack, sessions: Sessions, make_run: MakeRun
) -> None:
    heads = [Component(kind=Kind.HEAD, layer=0, index=index) for index in range(3)]
    places = dict(zip(heads, (3.0, 1.0, 2.0), strict=True))
    kept = dict(zip(heads, (0.5, -0.9, 0.1), strict=True))
    means = {ScoreKey(head, Quantity("order", "z")): places[head] for head in heads}
    means |= {ScoreKey(head, Quantity("kept", "q")): kept[head] for head in heads}
    with transaction(sessions) as session:
        run = finished_run(
            session,
            add_model(session),
            add_distribution(session),
            scores={
                key: (Statistics(n=8, skipped=0, mean=mean, sem=0, ci_low=0, ci_high=1), None)
                for key, mean in means.items()
            },
            notes=RunNotes(
                headline=Quantity("order"),
                scores=(
                    ScoreDescription(
                        metric="order",
                        meaning="",
                        better="low",
                        where=((Kind.HEAD, "z"),),
                        no_interval="nobody measured it",
                    ),
                    ScoreDescription(
                        metric="kept", meaning="", where=((Kind.HEAD, "q"),), x="the rank"
                    ),
                ),
            ),
        )
    found = cli.json("scores", str(run.id), "--top", "2")
    assert [(each["metric"], each["index"]) for each in found] == [("order", 1), ("order", 2)]
    found = cli.json("scores", str(run.id), "--top", "2", "--metric", "kept")
    assert [each["index"] for each in found] == [1, 0]
    shown = cli.headbook("scores", str(run.id))
    assert "order has no interval: nobody measured it." in shown
    coordinates = {line.split()[1]: line.split()[3] for line in shown.splitlines() if "L00" in line}
    assert coordinates["kept"] == "0"  # a rank
    assert coordinates["order"] != "0"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("runs", "show", "zzz"), "Run 'zzz' not found"),
        (("runs", "show", str(uuid4())), "headbook runs list"),
        (("scores", "0"), "Run '0' not found"),
        (("models", "add", "/no/such/model"), "neither a folder nor a .gguf file"),
        (("distributions", "show", "fact"), "Did you mean 'facts'"),
        (("submit", "attribution", "--model", "m", "--distribution", "facts"), "models add"),
        (
            ("submit", "attribution", "--model", "m", "--distribution", "facts", "-p", "x"),
            "Write it as NAME=VALUE",
        ),
        (("worker",), "No broker is known"),
        (("dispatch",), "No broker is known"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(cli: Stack, words: tuple[str, ...], says: str) -> None:
    assert says in cli.refusal(*words)


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    nowhere = Stack(tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    for words in (("runs", "list"), ("db", "upgrade"), ("models", "add", str(tmp_path))):
        assert "The database cannot be reached" in nowhere.refusal(*words)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("DATABASE_URL", "foo", "DATABASE_URL is not a valid Postgres URL"),
        ("DATABASE_URL", "mysql://me@host/db", "DATABASE_URL is not a valid Postgres URL"),
        ("HEADBOOK_LEASE_SECONDS", "abc", "HEADBOOK_LEASE_SECONDS is 'abc'"),
    ],
)
def test_a_wrong_environment_is_one_sentence(
    tmp_path: Path, variable: str, value: str, says: str
) -> None:
    assert says in Stack(tmp_path, **{variable: value}).refusal("runs", "list")


def test_the_password_of_a_database_is_never_shown(tmp_path: Path) -> None:
    wrong = Stack(tmp_path, DATABASE_URL="postgresql://ada:s3cret@word@127.0.0.1:1/none")
    assert "s3cret" not in wrong.refusal("runs", "list")


def test_a_reader_who_queues_is_told_whose_address_it_takes(
    sessions: Sessions, database_url: str, tmp_path: Path
) -> None:
    as_reader = f"{database_url}&options=-c%20role%3Dheadbook_reader"
    said = Stack(tmp_path, DATABASE_URL=as_reader).refusal("runs", "cancel", "00000000")
    assert "lacks the rights" in said
    assert "headbook_worker" in said


def test_quick_commands_never_load_torch(tmp_path: Path) -> None:
    for words in (["analyses", "list"], ["distributions", "show", "facts"], ["status"]):
        code = f"""
import sys
from tracker.cli import app, main
app({words}, standalone_mode=False)
sys.exit('torch' in sys.modules or 'celery' in sys.modules)
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"HEADBOOK_HOME": str(tmp_path)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, words


def test_json_is_json_even_for_what_a_person_wrote(cli: Stack, make_run: MakeRun) -> None:
    make_run(created_by='[bold]"ada" \\n é')
    assert (
        json.loads(cli.headbook("runs", "list", "--json"))[0]["created_by"] == '[bold]"ada" \\n é'
    )
