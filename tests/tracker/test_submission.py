"""What cannot work is refused at the door with the way out, and nothing is half-written."""

from pathlib import Path

import pytest
from sqlalchemy import func, select
from tiny_llama import save_tiny_llama

from analyses.prompts.distributions import DistributionSpec
from tracker import models
from tracker.db import Sessions, transaction
from tracker.domain import Model, RunState
from tracker.home import Home
from tracker.ledger import part_bounds
from tracker.store.models import UnknownModel
from tracker.submission import InvalidRequest
from tracker.tables import DistributionRow, ModelRow, PartRow, RunRow, StudyRow

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
    with pytest.raises(InvalidRequest, match=r"504 items.* 5544 prompts .* from 1 to 5544"):
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


def test_a_model_folder_that_is_gone_is_named(
    submit: Submit, sessions: Sessions, tiny: Model, tmp_path: Path
) -> None:
    with transaction(sessions) as session:
        session.get_one(ModelRow, tiny.id).ref = str(tmp_path / "gone")
    with pytest.raises(InvalidRequest, match=r"No model at '.*gone'"):
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
    changes = [
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
