"""What a run stores is what its analysis says that it stores, no more and no less."""

import pytest

from analyses import registry
from analyses.results import ScoreKey
from tracker import reports
from tracker.db import Sessions, transaction
from tracker.execution import Workbench, work
from tracker.store import tensors

from .conftest import Submit

# The parameters with which an analysis stores all that it can.
EVERYTHING = {"patching": {"attention": True}}
OWN = [each.name for each in registry.all_analyses() if each.function.startswith("analyses.")]
# Of models that the small one is not: it has no biases.
ELSEWHERE = {"attn_bias", "unembed"}


@pytest.mark.parametrize("name", OWN)
def test_an_analysis_stores_what_it_says(
    submit: Submit, bench: Workbench, sessions: Sessions, name: str
) -> None:
    analysis = registry.find(name)
    run = submit(analysis=name, params={"batch_size": 4, **EVERYTHING.get(name, {})}).run
    work(bench, hint=None)
    with transaction(sessions) as session:
        lines = reports.scores(session, run.id)
        arrays = tensors.tensors(session, run.id)
    keys = [
        ScoreKey(component=s.component, metric=s.metric, site=s.site, condition=s.condition, x=s.x)
        for s in lines
    ]
    unsaid = [key for key in keys if not any(key in said for said in analysis.stores)]
    assert unsaid == []
    unseen = [
        (said.metric, place, condition)
        for said in analysis.stores
        for place, condition in said.variants()
        if place[0] not in ELSEWHERE and not any(said.names(key, place, condition) for key in keys)
    ]
    assert unseen == []
    assert {each.metric for each in lines} == {said.metric for said in analysis.stores}
    assert {(each.name, each.axes) for each in arrays} == {
        (said.name, said.axes) for said in analysis.arrays
    }
