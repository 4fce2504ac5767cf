"""An analysis that reads results alone runs where its model cannot be loaded any more."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text, update
from stored_runs import detail

from analyses.knowledge import KNOWN, KnownByNoInput, without_model
from analyses.methods.categorise import CategoriseParams
from analyses.prompts.distributions import DistributionSpec
from analyses.results import Result
from tracker.database.db import Sessions, transaction
from tracker.domain import RunRequest, RunState
from tracker.home.home import Home
from tracker.queueing import models, submission
from tracker.queueing.submission import Submitted
from tracker.store import scores
from tracker.tables import RunRow
from tracker.working.context import WorkerContext
from tracker.working.execution import work
from tracker.working.loaded_models import LoadedModels


def test_heads_are_categorised_after_the_model_was_deleted(
    model_folder: Path,
    sessions: Sessions,
    home: Home,
    bench: WorkerContext,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "deleted-later"
    shutil.copytree(model_folder, folder)
    models.add_model(
        str(folder), name="tiny", dtype="float32", home=home, roots=(), sessions=sessions
    )
    made = categorise(sessions, home)
    needed = [run.id for run in made.inputs.values()]
    hold_back(made, sessions, until="2999-01-01")
    work(bench, hint=None)
    assert {detail(sessions, each).line.state for each in needed} == {RunState.SUCCEEDED}
    hold_back(made, sessions, until="2000-01-01")
    shutil.rmtree(folder)
    fresh = replace(bench, loaded=LoadedModels(), inputs=None)
    work(fresh, hint=None)
    seen = detail(sessions, made.run.id)
    assert seen.line.state is RunState.SUCCEEDED, seen.line.reason
    assert fresh.loaded.ids == []
    assert "device" not in seen.provenance
    assert "torch" in seen.provenance["versions"]
    with transaction(sessions) as session:
        mine, _ = scores.vectors_and_means(session, made.run.id)
        theirs, _ = scores.vectors_and_means(session, made.inputs["attention"].id)
    np.testing.assert_array_equal(mine[KNOWN], theirs[KNOWN])


def hold_back(made: Submitted, sessions: Sessions, *, until: str) -> None:
    """Let no part of the run be claimed before that."""
    with transaction(sessions) as session:
        held = update(RunRow).where(RunRow.id == made.run.id)
        session.execute(held.values(not_before=text(f"'{until}'::timestamptz")))


def categorise(sessions: Sessions, home: Home) -> Submitted:
    return submission.submit(
        RunRequest(
            analysis="categorise",
            model="tiny",
            recipe=DistributionSpec(size=4, split="test"),
            parameters={"batch_size": 4, "prompts": "known"},
        ),
        created_by="ada",
        sessions=sessions,
        home=home,
    )


def test_known_answers_that_no_input_has_measured_are_asked_for_in_vain() -> None:
    inputs = {"attention": Result(scores={}, means={}, tensors={})}
    with pytest.raises(KnownByNoInput, match="'never' with prompts=known needs to know"):
        without_model(never, [], CategoriseParams(prompts="known"), lambda done: None, inputs)


def never(*_: object, **__: object) -> None:
    raise AssertionError("nothing is measured")
