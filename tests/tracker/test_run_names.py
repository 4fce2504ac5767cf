"""A run is named by all that makes it another run than others, and by nothing else."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from stack import Stack
from stored_runs import add_distribution, add_model, mlflow_ids

from analyses import registry
from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import Priority
from tracker.results import RunLine
from tracker.results.run_names import name_of
from tracker.store import runs
from tracker.working.context import WorkerContext
from tracker.working.execution import publish_if_ended

from .conftest import Submit

Queue = Callable[..., RunLine]
PATCHING = {"analysis": "patching", "params": {"source": "zero", "sites": ["z"], "batch_size": 8}}
FIRST: dict[str, Any] = {"analysis_version": 1, "engine_version": registry.ENGINE_VERSION}
# Each differs from a plain run of attribution in one thing, some in fields of model or recipe.
OTHERS: dict[str, dict[str, Any]] = {
    "split": {"recipe": {"split": "test"}},
    "prompt seed": {"recipe": {"seed": 1}},
    "shots": {"recipe": {"shots": 2}},
    "options": {"recipe": {"options": 3}},
    "separators": {"recipe": {"separators": "A)"}},
    "prelude": {"recipe": {"prelude": False}},
    "size": {"recipe": {"size": 9}},
    "labels": {"recipe": {"labels": "list:W,X,Y,Z"}},
    "dtype": {"model": {"dtype": "bfloat16"}},
    "revision": {"model": {"revision": "1" * 40}},
    "model": {"model": {"name": "other", "ref": "/models/other"}},
    "batch size": {"params": {"batch_size": 4, "prompts": "all"}},
    "known prompts": {"params": {"batch_size": 8, "prompts": "known"}},
    "bootstrap seed": {"seed": 3},
    "version": {"analysis_version": 99},
    "engine": {"engine_version": 99},
    "analysis": PATCHING,
}


@pytest.fixture
def queue(sessions: Sessions) -> Queue:
    """Queues attribution over eight prompts; keywords change the request, its model and recipe."""
    known: dict[str, Any] = {}

    def queued(
        model: dict[str, Any] | None = None, recipe: dict[str, Any] | None = None, **asked: Any
    ) -> RunLine:
        fields = {"size": 8} | (recipe or {})
        plain = {
            "analysis": "attribution",
            "params": {"batch_size": 8, "prompts": "all"},
            "seed": 0,
        }
        with transaction(sessions) as session:
            of = repr(model)
            known[of] = known.get(of) or add_model(session, **model or {})
            run = runs.insert_run(
                session,
                **FIRST | plain | asked,
                fingerprint=uuid4().hex,
                bounds=[(0, fields["size"])],
                priority=Priority.NORMAL,
                model_id=known[of].id,
                distribution_id=add_distribution(session, **fields),
                n_prompts=fields["size"],
                created_by="ada",
            )
            assert run is not None
            (line,) = results.runs(session, ids=[run.id])
        return line

    return queued


def test_what_is_as_it_usually_is_stays_unsaid(queue: Queue) -> None:
    name = name_of(queue())
    assert str(name) == "attribution · tiny@0000000, float32 · 8 prompts of facts/chinchilla/ABCD"
    one = name_of(queue(recipe={"size": 1}))
    assert one.prompts == "1 prompt of facts/chinchilla/ABCD"


def test_runs_that_differ_have_names_that_differ(queue: Queue) -> None:
    names = {what: str(name_of(queue(**other))) for what, other in OTHERS.items()}
    names["plain"] = str(name_of(queue()))
    same = [pair for pair in combinations(names, 2) if names[pair[0]] == names[pair[1]]]
    assert same == []


def test_a_name_says_what_differs_in_the_words_of_the_recipe(queue: Queue) -> None:
    fields = {"split": "test", "shots": 2, "options": 3, "seed": 7, "separators": "A)"}
    name = name_of(queue(recipe=fields, seed=5, **PATCHING))
    assert name.prompts == (
        "8 prompts of facts/chinchilla/ABCD, separators=A), options=3, shots=2, split=test, seed=7"
    )
    assert name.params == "sites=z, source=zero, bootstrap seed 5"


def test_files_that_changed_are_told_apart_by_their_prompts(queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    named = []
    for answer in ("yes", "no"):
        row = '{"question": "%s %d?", "choices": ["yes", "no", "maybe", "never"], "answer": "%s"}\n'
        path.write_text("".join(row % ("Which", n, answer) for n in range(9)))
        named.append(name_of(queue(recipe={"data": f"file:{path}"})).prompts)
    assert named[0] != named[1]
    assert {name.split("@")[0] for name in named} == {f"8 prompts of file:{path}/chinchilla/ABCD"}


def test_of_an_analysis_that_is_not_installed_every_parameter_is_said(queue: Queue) -> None:
    name = name_of(queue(analysis="theirs", params={"way": "up", "ranks": [1, 2], "deep": None}))
    assert name.analysis == f"theirs version 1 on engine {registry.ENGINE_VERSION}"
    assert name.params == "way=up, deep=null, ranks=1 2"


def test_commands_tell_runs_apart(
    queue: Queue, sessions: Sessions, database_url: str, tmp_path: Path
) -> None:
    cli = Stack(tmp_path / "home", DATABASE_URL=database_url)
    lines = [queue(), queue(recipe={"shots": 2}), queue(seed=3, recipe={"split": "test"})]
    for line in lines:
        assert str(name_of(line)) in cli.headbook("runs", "show", str(line.id))
    listed = cli.headbook("runs", "list")
    assert "shots=2" in listed
    assert "split=test" in listed
    assert "bootstrap seed 3" in listed


def test_mlflow_tells_runs_apart_by_name_and_by_params(
    submit: Submit, bench: WorkerContext, sessions: Sessions
) -> None:
    """They end before they are worked on, which MLflow shows as well."""
    found = []
    for fields in ({}, {"split": "test"}, {"seed": 1}, {"shots": 1}):
        run = submit(distribution=DistributionSpec(size=8, **fields)).run
        with transaction(sessions) as session:
            runs.cancel(session, run.id)
        publish_if_ended(bench, run.id)
        found.append(bench.artifacts.mlflow.get_run(mlflow_ids(sessions, run.id).run_id))
    assert len({each.info.run_name for each in found}) == 4
    params = [each.data.params for each in found]
    assert [each["prompts.split"] for each in params] == ["all", "test", "all", "all"]
    assert [each["prompts.seed"] for each in params] == ["0", "0", "1", "0"]
    assert [each["prompts.shots"] for each in params] == ["0", "0", "0", "1"]
