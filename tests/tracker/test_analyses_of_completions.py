"""What runs on completions of a file store is what their analyses say, for all of them."""

import json
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import pytest
from stored_runs import detail

from analyses import registry
from analyses.knowledge import KNOWN
from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.queueing.submission import InvalidRequest
from tracker.store import tensors
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

CONFINED = {"train_prompts": 8, "heads": ["1.1", "0.2"], "key_site": "io", "ranks": [1]}
CHOICES: dict[str, dict[str, Any]] = {
    "attention": {},
    "attribution": {"prompts": "known"},
    "bases": {"key_site": "s1"},
    "behaviour": {},
    "categorise": {"importance": 0},
    "patching": {"source": "mean"},
    "subspace": {**CONFINED, "placebo_ranks": []},
}


PERSONS = tuple(islice(permutations("JKQVWXYZ", 2), 50))
TEXT = "{0} met {1}, ({1}) saw ("


def _row(number: int, io: str, s: str) -> dict[str, Any]:
    """Who is seen, in two orders; in the counterfactual the two persons are exchanged."""
    order, text = ("BABA", "{1} met {0}, ({1}) saw (") if number % 2 else ("ABBA", TEXT)
    spans = {"io": [6, 7], "s1": [0, 1]} if number % 2 else {"io": [0, 1], "s1": [6, 7]}
    return {
        "prompt": text.format(io, s),
        "correct": io,
        "others": s,
        "counterfactual": text.format(s, io),
        "counterfactual_correct": s,
        "spans": spans,
        "counterfactual_spans": spans,
        "order": order,
    }


@pytest.fixture
def given(tmp_path: Path) -> DistributionSpec:
    """Fifty such rows in a file, of which eight prompts are held out."""
    rows = [_row(number, *persons) for number, persons in enumerate(PERSONS)]
    path = tmp_path / "seen.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return DistributionSpec(
        data=f"file:{path}", layout="pairs", group_columns=("order",), size=8, split="test"
    )


def test_analyses_store_what_they_say_of_completions(
    submit: Submit, bench: WorkerContext, sessions: Sessions, given: DistributionSpec
) -> None:
    made = {
        name: submit(
            analysis=name,
            params={"batch_size": 4, **params},
            distribution=given,
            prompts_per_part=2 if name == "behaviour" else 8,
        ).run
        for name, params in CHOICES.items()
    }
    work(bench, hint=None)
    for name, run in made.items():
        line = detail(sessions, run.id).line
        assert line.state is RunState.SUCCEEDED, (name, line.reason)
        with transaction(sessions) as session:
            scores = results.scores(session, run.id)
            arrays = tensors.tensors(session, run.id)
        said = registry.find(name)
        unsaid = {each.key for each in scores if not any(each.key in one for one in said.stores)}
        assert unsaid == ({KNOWN} if CHOICES[name].get("prompts") == "known" else set()), name
        described = {(each.name, each.axes) for each in said.arrays}
        assert {(each.name, each.axes) for each in arrays} <= described
        if name == "behaviour":
            orders = {each.quantity.condition for each in scores}
            assert orders == {"", "order=ABBA", "order=BABA"}
        if name == "categorise":
            named = {
                each.quantity.varied["of"] for each in scores if each.quantity.metric == "category"
            }
            assert named == {"mover", "suppressor", "gatherer", "amplifier", "other"}


@pytest.mark.parametrize(
    ("analysis", "params", "said"),
    [
        ("label_randomisation", {"key_site": "io"}, "has completions, which have no labels"),
        ("categorise", {"one_label": 0.5}, "letter categories"),
        ("subspace", {}, "Invalid key_site 'label'.* Choose from io, s1"),
        ("bases", {"key_site": "s2"}, "Invalid key_site 's2'.* Choose from io, s1"),
        (
            "subspace",
            {"key_site": "io", "train_prompts": 4000},
            "is not possible.*such as train_prompts, asks for 4000 prompts",
        ),
    ],
)
def test_what_is_of_questions_is_refused_at_the_door(
    submit: Submit, given: DistributionSpec, analysis: str, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        submit(analysis=analysis, params=params, distribution=given)
