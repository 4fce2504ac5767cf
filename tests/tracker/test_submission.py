"""What cannot work is refused at the door with the way out, and nothing is half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from questions import questions
from sqlalchemy import func, select
from tiny_llama import save_tiny_llama
from tokenizers import Tokenizer, normalizers
from transformers import AutoConfig, AutoModelForCausalLM

from analyses.checkpoints.quiet import quiet
from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, RunState
from tracker.home.home import Home
from tracker.queueing import models
from tracker.queueing.run_records import part_bounds
from tracker.queueing.submission import InvalidRequest
from tracker.store.models import UnknownModel
from tracker.tables import DistributionRow, ModelRow, PartRow, RunRow, StudyRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit


def rows(sessions: Sessions) -> int:
    """How many rows a submission could have written."""
    with transaction(sessions) as session:
        tables = (RunRow, PartRow, DistributionRow, StudyRow)
        return sum(session.scalar(select(func.count()).select_from(t)) or 0 for t in tables)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"analysis": "atribution"}, "Did you mean 'attribution'"),
        ({"params": {"batch_size": 0}}, r"batch_size: .*greater than or equal to 1 .*given: 0"),
        ({"params": {"batchsize": 4}}, r"batchsize: .*Its parameters are: batch_size"),
        ({"params": {"batch_size": "many"}}, "batch_size: .*valid integer"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(
    submit: Submit, sessions: Sessions, change: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        submit(study="mine", **change)
    assert rows(sessions) == 0


def test_an_unknown_model_says_how_to_add_one(submit: Submit, sessions: Sessions) -> None:
    with pytest.raises(UnknownModel, match=r"Did you mean 'tiny'\?.*headbook models add"):
        submit(model="tinny")
    assert rows(sessions) == 0


def test_bad_rows_are_named_and_nothing_is_written(
    submit: Submit, sessions: Sessions, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "?", "choices": ["x"], "answer": 0}\n{}\n')
    with pytest.raises(InvalidRequest, match=r"(?s)2 of the 2 rows.*line 1: .*line 2: "):
        submit(distribution=DistributionSpec(data=f"file:{path}", options=2, size=1))
    assert rows(sessions) == 0


def test_too_many_prompts_say_how_many_there_are(submit: Submit, sessions: Sessions) -> None:
    with pytest.raises(
        InvalidRequest, match=r"504 items.* 5544 different prompts .* from 1 to 5544"
    ):
        submit(distribution=DistributionSpec(data="colours", options=2, size=5545))
    assert rows(sessions) == 0


def test_a_label_of_two_tokens_is_refused_at_the_door(
    sessions: Sessions, submit: Submit, home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "no-labels"
    save_tiny_llama(folder, seed=0, unknown="D")
    models.add_model(
        str(folder), name="no-d", dtype="float32", home=home, roots=(), sessions=sessions
    )
    with pytest.raises(InvalidRequest, match=r"label 'D' is not one token .* Choose other labels"):
        submit(model="no-d")
    assert rows(sessions) == 0


@pytest.fixture
def add(sessions: Sessions, home: Home, tmp_path: Path) -> Callable[..., None]:
    """Adds a small llama under a name of its own."""

    def add_it(name: str, *, seed: int = 0, **choices: Any) -> None:
        folder = tmp_path / name
        save_tiny_llama(folder, seed=seed, **choices)
        models.add_model(
            str(folder), name=name, dtype="float32", home=home, roots=(), sessions=sessions
        )

    return add_it


def test_a_token_that_the_embedding_lacks_is_refused_at_the_door(
    submit: Submit, sessions: Sessions, add: Callable[..., None]
) -> None:
    add("fewer", fewer_rows=200)  # letters stand first in the alphabet
    with pytest.raises(InvalidRequest, match=r"Prompt \d+ has the token \d+, .* has only 57 rows"):
        submit(model="fewer")
    assert rows(sessions) == 0


def test_a_token_that_only_an_option_in_words_needs_is_refused_at_the_door(
    submit: Submit, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    """An option is read after the question alone as well, where no label stands before it."""
    spec = DistributionSpec(size=8)
    folder = tmp_path / "whole"
    save_tiny_llama(folder, seed=1)
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens([f"Answer: {questions(spec).prompts[3].options[0]}"])
    tokenizer.save(str(path))
    models.add_model(
        str(folder), name="whole", dtype="float32", home=home, roots=(), sessions=sessions
    )
    with pytest.raises(InvalidRequest, match=r"Prompt 3 has the token 257, .* has only 257 rows"):
        submit(model="whole", distribution=spec)
    assert rows(sessions) == 0


def test_a_prompt_beyond_the_table_of_positions_is_refused_at_the_door(
    submit: Submit, sessions: Sessions, home: Home, tmp_path: Path, model_folder: Path
) -> None:
    folder = tmp_path / "opt"
    config = AutoConfig.for_model(
        "opt",
        vocab_size=257,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=100,
    )
    with quiet():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    shutil.copy(model_folder / "tokenizer.json", folder)
    added = models.add_model(
        str(folder), name="opt", dtype="float32", home=home, roots=(), sessions=sessions
    )
    assert (added.n_embeddings, added.max_positions, added.trained_positions) == (257, 100, None)
    with pytest.raises(
        InvalidRequest, match=r"8 of the 8 prompts are too long .* end after 100 tokens"
    ):
        submit(model="opt")
    assert rows(sessions) == 0


def test_prompts_beyond_the_trained_length_are_queued_with_a_warning_that_the_result_keeps(
    submit: Submit, sessions: Sessions, add: Callable[..., None], bench: WorkerContext
) -> None:
    add("short", positions=100)
    run = submit(model="short").run

    def warnings() -> tuple[str, ...]:
        with transaction(sessions) as session:
            return results.run_detail(session, run.id).notes.warnings

    (queued,) = warnings()
    assert queued.startswith("8 of the 8 prompts have more tokens than the 100 that")
    work(bench, hint=None)
    first, *_ = warnings()
    assert first == queued


def test_a_model_added_again_is_asked_what_older_versions_did_not_ask(
    sessions: Sessions, add: Callable[..., None]
) -> None:
    add("old")
    with transaction(sessions) as session:
        session.query(ModelRow).filter_by(name="old").one().n_embeddings = None
    add("old")
    with transaction(sessions) as session:
        assert session.query(ModelRow).filter_by(name="old").one().n_embeddings == 257


TOLD: dict[str, Any] = {
    "analysis": "label_randomisation",
    "distribution": DistributionSpec(data="colours", split="test", size=4),
}
FEW = {"heads": ["0.1"], "train_prompts": 4}


def test_mutations_that_a_model_cannot_read_are_named_with_those_that_it_can(
    submit: Submit, sessions: Sessions
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        submit(**TOLD, params=FEW)
    said = str(refused.value)
    assert said.startswith("2 of the mutations cannot be used with this model. Leave them out ")
    assert "\n  symbols: The label '£' is not one token" in said
    assert "\n  other_separators: The label 'A' is not one token" in said
    assert rows(sessions) == 0
    left = json.loads(said.partition("mutations=")[2].partition(", or automatically")[0])
    run = submit(**TOLD, params={**FEW, "mutations": left}).run
    by_itself = submit(**TOLD, params={**FEW, "unreadable": "leave_out"})
    assert by_itself.run.params["mutations"] == run.params["mutations"] == left
    symbols, separators = by_itself.remarks
    assert symbols.startswith("The mutation symbols is left out: The label '£' is not one token")
    assert separators.startswith("The mutation other_separators is left out: The label 'A' is not")


@pytest.mark.parametrize(
    ("params", "spec", "says"),
    [
        (
            {"mutations": ["symbols"], "unreadable": "leave_out"},
            {},
            "Choose other mutations, or another model:\n  symbols: ",
        ),
        (
            {"mutations": ["no_prelude", "symbols", "shuffled"]},
            {"prelude": False},
            "2 of the mutations cannot be used with this model. Leave them out with mutations=",
        ),
    ],
)
def test_what_is_left_must_be_something(
    submit: Submit, params: dict[str, object], spec: dict[str, object], says: str
) -> None:
    asked = TOLD["distribution"].model_copy(update=spec)
    with pytest.raises(InvalidRequest) as refused:
        submit(**{**TOLD, "distribution": asked}, params={**FEW, **params})
    assert says in str(refused.value)


def test_options_that_a_model_reads_alike_are_named_by_their_rows_all_at_once(
    submit: Submit, sessions: Sessions, home: Home, tiny: Model, tmp_path: Path
) -> None:
    folder = tmp_path / "uncased"
    save_tiny_llama(folder, seed=0)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.save(str(folder / "tokenizer.json"))
    models.add_model(
        str(folder), name="nfkc", dtype="float32", home=home, roots=(), sessions=sessions
    )
    rows_of = [["x²", "x2", "y", "z"], ["a", "b", "c", "d"], ["½", "1", "①", "2"]]
    path = tmp_path / "mine.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"{n}?", "choices": choices, "answer": "A"}) + "\n"
            for n, choices in enumerate(rows_of)
        )
    )
    asked = DistributionSpec(data=f"file:{path}", size=3)
    assert submit(distribution=asked).remarks == (
        "The answers in 'answer' that are words are read as letters of choices.",
    )
    with pytest.raises(InvalidRequest, match=r"as the same tokens \(2 found\)") as refused:
        submit(model="nfkc", distribution=asked)
    said = str(refused.value)
    assert "  mine.jsonl line 1: the options 'x" in said
    assert "  mine.jsonl line 3: the options '" in said


def test_a_model_folder_that_is_gone_is_named(
    submit: Submit, sessions: Sessions, tiny: Model, tmp_path: Path
) -> None:
    with transaction(sessions) as session:
        session.get_one(ModelRow, tiny.id).ref = str(tmp_path / "gone")
    with pytest.raises(InvalidRequest, match=r"Model not found: '.*gone'"):
        submit()


def test_the_prompts_of_a_run_are_stored_with_their_items_once(
    submit: Submit, sessions: Sessions
) -> None:
    first, second = submit().run, submit(seed=1).run
    assert first.distribution_id == second.distribution_id
    assert first.state is RunState.QUEUED
    with transaction(sessions) as session:
        stored = session.get_one(DistributionRow, first.distribution_id)
        assert (stored.name, stored.size) == ("facts/chinchilla/ABCD", 8)


def test_everything_that_changes_numbers_changes_the_fingerprint(submit: Submit) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"params": {"batch_size": 4}},
        {"distribution": DistributionSpec(size=8, seed=1)},
        {"distribution": DistributionSpec(size=9)},
    ]
    fingerprints = {submit(**change).run.fingerprint for change in changes}
    assert len(fingerprints) == len(changes)


def test_what_changes_no_number_finds_the_same_run(submit: Submit) -> None:
    first = submit().run
    for change in ({"created_by": "eve"}, {"prompts_per_part": 8}, {"study": "other"}):
        assert submit(**change).run.id == first.id


@pytest.mark.parametrize("size", [1, 7, 8, 31, 64, 100])
@pytest.mark.parametrize("batch", [1, 3, 8, 50])
def test_parts_hold_every_prompt_once_and_never_split_a_batch(size: int, batch: int) -> None:
    bounds = part_bounds(size, batch, 32)
    assert [n for start, stop in bounds for n in range(start, stop)] == list(range(size))
    assert all(start % batch == 0 for start, _ in bounds)


def test_a_study_is_one_group_however_often_it_is_named(submit: Submit, sessions: Sessions) -> None:
    studies = {submit(study="scan", seed=seed, nonce=f"click-{seed}").study for seed in (1, 2, 2)}
    assert len(studies) == 1
    with transaction(sessions) as session:
        assert session.scalar(select(func.count()).select_from(StudyRow)) == 1
