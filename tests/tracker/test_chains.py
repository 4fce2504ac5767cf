"""Analyses of ours that need others, from the request to the scores."""

from pathlib import Path
from typing import Any

import pytest
from stored_runs import detail

from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database.db import Sessions, transaction
from tracker.domain import RunState
from tracker.queueing.submission import InvalidRequest
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit

FEW: dict[str, Any] = {"train_prompts": 8, "strongest": 2, "batch_size": 4}


@pytest.mark.parametrize(
    ("analysis", "params", "needs", "metric"),
    [
        ("patching", {"source": "mean"}, {"means": "bases"}, "total_effect"),
        ("cumulative", {"most": 4}, {"effects": "patching"}, "total_effect"),
        ("paths", {"strongest": 1}, {"effects": "patching"}, "path_effect"),
        ("categorise", {}, {"attention": "attention", "effects": "patching"}, None),
        (
            "subspace",
            {**FEW, "ranks": [2], "placebo_ranks": [2]},
            {"bases": "bases", "effects": "patching"},
            "logit_diff",
        ),
        (
            "label_randomisation",
            {**FEW, "mutations": ["shuffled", "ordered_letters"]},
            {"bases": "bases", "effects": "patching"},
            None,
        ),
    ],
)
def test_a_chain_of_analyses_is_queued_by_its_last_link_and_ends_with_scores(
    submit: Submit,
    bench: WorkerContext,
    sessions: Sessions,
    analysis: str,
    params: dict[str, Any],
    needs: dict[str, str],
    metric: str | None,
) -> None:
    made = submit(
        analysis=analysis, params=params, distribution=DistributionSpec(size=8, split="test")
    )
    assert {name: run.analysis for name, run in made.inputs.items()} == needs
    work(bench, hint=None)
    line = detail(sessions, made.run.id).line
    with transaction(sessions) as session:
        scores = results.scores(session, made.run.id, metric=metric)
    assert line.state is RunState.SUCCEEDED, line.reason
    assert any(score.n == 8 for score in scores)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"positions": "labl"}, "Invalid positions 'labl': .* Did you mean 'label'"),
        ({"positions": "s1"}, "Choose from final, each, label, bracket, content_end, option_end"),
        ({"key_site": "io"}, "Invalid key_site 'io': .* Choose from label, bracket"),
        ({"positions": "each"}, "names tokens by the spans of completions"),
        ({"source": "paired"}, "questions have no counterfactual"),
    ],
)
def test_a_patch_of_what_questions_do_not_have_is_refused_at_the_door(
    submit: Submit, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        submit(analysis="patching", params=params, distribution=DistributionSpec(size=8))


def test_a_key_site_that_no_option_has_is_refused_at_the_door(
    submit: Submit, tmp_path: Path
) -> None:
    template = tmp_path / "one-line.jinja"
    options = "{% for o in options %}({{ o.label }}) {{ o.text }}; {% endfor %}"
    template.write_text("{{ question }}\n" + options + "Answer: (")
    spec = DistributionSpec(template=f"file:{template}", size=8, split="test")
    asked = {"analysis": "subspace", "distribution": spec}
    submit(**asked, params={"key_site": "bracket"})
    with pytest.raises(InvalidRequest, match="no separate token for the key site 'option_end'"):
        submit(**asked, params={"key_site": "option_end"})
