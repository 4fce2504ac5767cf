"""A position map of completions in a file, from the request to the scores and the picture."""

import json
from pathlib import Path

import pytest
from stored_runs import detail

from analyses.prompts.distributions import DistributionSpec
from analyses.quantities import Varied
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.queueing.submission import InvalidRequest
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

NAMES = ("a", "bc", "d", "e", "fg", "h")


@pytest.fixture
def pairs(tmp_path: Path) -> DistributionSpec:
    """Six completions; two of them have a span of two tokens, and so have their counterfactuals."""
    rows = [
        {
            "prompt": f"in {name} is 1",
            "correct": ["5", "6"],
            "others": ["3", "4"],
            "counterfactual": f"in {name.upper()} is 1",
            "spans": {"where": name},
            "counterfactual_spans": {"where": name.upper()},
        }
        for name in NAMES
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return DistributionSpec(data=f"file:{path}", layout="pairs", size=len(NAMES))


def test_every_position_has_effects_of_the_prompts_that_have_it(
    submit: Submit, bench: WorkerContext, sessions: Sessions, pairs: DistributionSpec
) -> None:
    params = {"positions": "each", "batch_size": 2}
    made = submit(analysis="patching", params=params, distribution=pairs, prompts_per_part=2)
    assert made.run.params["source"] == "paired"
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    assert line.state is RunState.SUCCEEDED, line.reason
    with transaction(sessions) as session:
        scores = results.scores(session, made.run.id)
    counts = {
        str(each.quantity.varied["at"]): each.n
        for each in scores
        if each.quantity.metric == "total_effect" and each.quantity.site == "resid_pre"
    }
    of_one, of_two = {"where": 4}, {"where[0]": 2, "where[1]": 2}
    before = {"start": 6, "start+1": 6, "start+2": 6}
    after = {f"where+{number}": 6 for number in range(1, 5)}
    assert counts == before | of_one | of_two | after | {"end": 6}
    shares = {
        each.quantity.varied["at"]: each.mean
        for each in scores
        if each.quantity.metric == "moved"
        and each.component.label == "L00.RESID"
        and each.quantity.varied == Varied({"of": "logit_diff", "at": each.quantity.varied["at"]})
    }
    assert shares.keys() == counts.keys()
    assert shares["start"] in (0.0, None)  # nothing differs so early
    with pytest.raises(InvalidRequest, match="Invalid positions 'who'"):
        submit(analysis="patching", params={"positions": "who"}, distribution=pairs)
