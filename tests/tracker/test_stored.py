"""What a run stores is what its analysis says that it stores, no more and no less."""

import pytest

from analyses import registry
from analyses.confined import COMBINATIONS
from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.store import tensors
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

FEW = {"train_prompts": 8, "heads": ["1.1", "0.2"]}
# The parameters with which an analysis stores all that it can.
EVERYTHING: dict[str, dict[str, object]] = {
    "patching": {"sites": ["z", "mlp_out", "attn_out", "q", "k", "v", "resid_pre"]},
    "subspace": {**FEW, "ranks": [1, 2, 7], "placebo_ranks": [1, 2, 7]},
    "categorise": {"importance": 0},
}
CONFINED = {**FEW, "mutations": ["shuffled", "ordered_letters"]}
OWN = [each.name for each in registry.all_analyses() if each.function.startswith("analyses.")]
# Of models that the small one is not: it has no biases.
ELSEWHERE = {"attn_bias", "unembed"}


def _bare(line: results.ScoreLine) -> bool:
    """Whether a number of eight items has neither an interval nor a reason for having none."""
    interval = line.ci_low is not None and line.ci_high is not None
    return line.mean is not None and interval == bool(line.no_interval)


def choices(name: str) -> list[dict[str, object]]:
    """Parameters of runs that together store all there is."""
    if name == "label_randomisation":
        return [{**CONFINED, "confine": sites} for sites in COMBINATIONS]
    return [EVERYTHING.get(name, {})]


@pytest.mark.parametrize("name", OWN)
def test_an_analysis_stores_what_it_says(
    submit: Submit, bench: WorkerContext, sessions: Sessions, name: str
) -> None:
    analysis = registry.find(name)
    about = {"analysis": name, "distribution": DistributionSpec(size=8, split="test")}
    made = [submit(**about, params={"batch_size": 4, **each}).run for each in choices(name)]
    work(bench, hint=None)
    with transaction(sessions) as session:
        lines = [line for run in made for line in results.scores(session, run.id)]
        arrays = tensors.tensors(session, made[0].id)
    keys = [s.key for s in lines]
    unsaid = [key for key in keys if not any(key in said for said in analysis.stores)]
    assert unsaid == []
    bare = {line.quantity for line in lines if _bare(line)}
    assert bare == set()
    unseen = [
        (said.metric, place, varied)
        for said in analysis.stores
        if said.sure
        for place, varied in said.variants()
        if place[0] not in ELSEWHERE and not any(said.names(key, place, varied) for key in keys)
    ]
    assert unseen == []
    surely = {said.metric for said in analysis.stores if said.sure}
    assert surely <= {each.quantity.metric for each in lines}
    assert {(each.name, each.axes) for each in arrays} == {
        (said.name, said.axes) for said in analysis.arrays
    }
