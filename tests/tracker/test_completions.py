"""Completions through the whole product: queued, refused with all reasons, run, read back."""

import json
import shlex
from pathlib import Path
from typing import Any

import byte_pairs
import numpy as np
import pytest
import torch
from stack import Stack
from stored_runs import detail
from tiny_llama import save_tiny_llama
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

import headbook
from analyses.prompts import distributions
from analyses.prompts.distributions import CompletionDistribution, DistributionSpec
from analyses.prompts.prompt import CompletionPrompt
from analyses.prompts.sources import SourceKind
from analyses.prompts.spec import in_short, unusual
from analyses.results import MODEL, Kind
from tracker import results
from tracker.cli import app
from tracker.database.db import Sessions, transaction
from tracker.domain import Model, RunRequest, RunState
from tracker.home.home import Home
from tracker.queueing import models
from tracker.queueing.submission import InvalidRequest
from tracker.store import distributions as distribution_store
from tracker.store import pairs as pair_store
from tracker.working.context import WorkerContext
from tracker.working.execution import work

from .conftest import Submit
from .test_submission import rows


def of_pairs(path: Path, layout: str = "pairs", **fields: Any) -> DistributionSpec:
    return DistributionSpec(data=f"file:{path}", layout=layout, size=4, **fields)


def logits(folder: Path, text: str) -> torch.Tensor:
    """The logits after a text, of transformers' own model."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([ids])).logits[0, -1]
    return found


def metrics(folder: Path, prompt: CompletionPrompt) -> dict[str, float]:
    """Of one prompt, by their definitions."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.encode(label).ids[-1] for label in prompt.labels]
    found = logits(folder, prompt.text).double()
    right = [ids[index] for index in prompt.correct]
    wrong = [each for each in ids if each not in right]
    chances = found.softmax(-1)
    return {
        "logit_diff": float(found[right].mean() - found[wrong].mean()),
        "prob_diff": float(chances[right].sum() - chances[wrong].sum()),
        "accuracy": float(found[right].max() > found[wrong].max()),
    }


def test_runs_on_a_file_of_pairs_end_with_scores_that_are_read_back(
    submit: Submit, bench: WorkerContext, sessions: Sessions, tmp_path: Path, model_folder: Path
) -> None:
    spec = of_pairs(byte_pairs.write(tmp_path, "pairs"), group_columns=("order",))
    asked: dict[str, Any] = {"distribution": spec, "prompts_per_part": 2}
    behaviour = submit(analysis="behaviour", **asked).run
    attribution = submit(analysis="attribution", **asked).run
    patching = submit(analysis="patching", **asked).run
    assert patching.params["source"] == "paired"
    built = distributions.build(spec)
    assert isinstance(built, CompletionDistribution)
    with transaction(sessions) as session:
        stored = distribution_store.prompts(session, patching.distribution_id, 0, 4)
        pairs = pair_store.pairs(session, SourceKind.PAIRED, patching.distribution_id, 0, 4, seed=0)
    assert tuple(stored) == built.prompts
    told = {byte_pairs.texts(*names) for names in byte_pairs.NAMES}
    assert {(pair.base.text, pair.source.text) for pair in pairs} == told
    assert tuple(pair.source for pair in pairs) == built.counterfactuals

    work(bench, hint=None)
    for run in (behaviour, attribution, patching):
        assert detail(sessions, run.id).line.state is RunState.SUCCEEDED
    expected = [metrics(model_folder, prompt) for prompt in built.prompts]
    with transaction(sessions) as session:
        of_behaviour = results.scores(session, behaviour.id)
        of_patching = results.scores(session, patching.id)
    whole = {str(line.quantity): line for line in of_behaviour if line.component == MODEL}
    for metric in expected[0]:
        mean = np.mean([each[metric] for each in expected])
        assert whole[metric].mean == pytest.approx(mean, abs=1e-4)
    heads = [line for line in of_patching if line.component.kind is Kind.HEAD]
    assert {"total_effect", "direct_effect"} <= {line.quantity.metric for line in heads}


def test_several_candidates_may_be_correct_and_digits_are_asked_of_a_tokenizer_that_splits_them(
    submit: Submit, bench: WorkerContext, sessions: Sessions, model_folder: Path
) -> None:
    submitted = submit(
        analysis="behaviour", distribution=DistributionSpec(data="greater_than", size=6)
    )
    assert submitted.remarks[0] == (
        "The prompts are those of 'greater_than_digits', since the tokenizer of tiny does "
        "not split years after the century."
    )
    built = distributions.build(DistributionSpec(data="greater_than_digits", size=6))
    assert {len(prompt.correct) for prompt in built.prompts} > {1}
    work(bench, hint=None)
    with transaction(sessions) as session:
        lines = results.scores(session, submitted.run.id)
    whole = {str(line.quantity): line for line in lines if line.component == MODEL}
    expected = [
        metrics(model_folder, prompt)
        for prompt in built.prompts
        if isinstance(prompt, CompletionPrompt)
    ]
    for metric in ("logit_diff", "prob_diff", "accuracy"):
        mean = np.mean([each[metric] for each in expected])
        assert whole[metric].mean == pytest.approx(mean, abs=1e-4)


def test_candidates_that_a_tokenizer_cannot_read_are_all_named_with_their_rows(
    submit: Submit, sessions: Sessions, home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "no-z"
    save_tiny_llama(folder, seed=0, unknown="Z")
    models.add_model(
        str(folder), name="no-z", dtype="float32", home=home, roots=(), sessions=sessions
    )
    lines = [("A", "B"), ("AB", "C"), ("A", "Z"), ("C", "D")]
    path = tmp_path / "bad.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"number {n} (", "correct": right, "others": wrong}) + "\n"
            for n, (right, wrong) in enumerate(lines)
        )
    )
    with pytest.raises(InvalidRequest) as refused:
        submit(model="no-z", distribution=of_pairs(path))
    first, several, *problems = str(refused.value).splitlines()
    assert several == "All problems (2):"
    assert sorted(each.partition(", and")[0].partition(": the text")[0] for each in problems) == [
        "  bad.jsonl line 2: the candidate 'AB' is not one token",
        "  bad.jsonl line 3: the candidate 'Z' is not one token",
    ]
    assert "bad.jsonl line" in first
    assert rows(sessions) == 0


@pytest.mark.parametrize("layout", byte_pairs.LAYOUTS)
def test_pairs_of_each_layout_are_queued_by_python_and_by_command_alike(
    sessions: Sessions,
    tiny: Model,
    home: Home,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
) -> None:
    request = RunRequest(
        analysis="attribution",
        model=tiny.name,
        recipe=of_pairs(byte_pairs.write(tmp_path, layout), layout),
    )
    with headbook.connect(database_url, home.root) as client:
        run = client.submit(request)
    assert run.recipe["layout"] == layout
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HEADBOOK_HOME", str(home.root))
    _, *words = shlex.split(request.as_command())
    ended = CliRunner().invoke(app, [*words, "--json"])
    queued = json.loads(ended.stdout)
    assert (queued["run"]["id"], queued["new"]) == (str(run.id), False)


def test_files_outside_the_data_roots_are_refused_to_commands_too(
    sessions: Sessions,
    tiny: Model,
    home: Home,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADBOOK_DATA_ROOTS", str(tmp_path / "data"))
    path = byte_pairs.write(tmp_path, "pairs")
    request = RunRequest(analysis="attribution", model=tiny.name, recipe=of_pairs(path))
    with (
        headbook.connect(database_url, home.root) as client,
        pytest.raises(InvalidRequest, match="outside the data roots"),
    ):
        client.submit(request)
    assert rows(sessions) == 0


def test_completions_are_shown_with_candidates_spans_groups_and_counterfactuals(
    tmp_path: Path,
) -> None:
    path = byte_pairs.write(tmp_path, "pairs")
    cli = Stack(tmp_path / "home")
    words: tuple[str, ...] = (
        "distributions",
        "show",
        f"file:{path}",
        "--layout",
        "pairs",
        "--prompts",
        "4",
    )
    words += ("--group-column", "order", "--sources", "paired")
    said = cli.headbook(*words)
    assert "correct: A" in said
    assert "others: B" in said
    assert "spans: io='Ann', s1='Bob', s2='Bob'" in said
    assert "groups: order=io first" in said
    side_by_side = [line for line in said.splitlines() if "Bob saw (" in line]
    assert any("Ann saw (" in line for line in side_by_side)
    found = cli.json(*words)
    prompt = next(each for each in found["prompts"] if "Ann and" in each["text"])
    assert prompt["labels"][prompt["correct"][0]] == "A"
    assert prompt["spans"]["s2"] == [17, 20]
    assert prompt["groups"] == {"order": "io first"}
    source = found["sources"][prompt["number"]]
    assert source["source"]["text"] == "Ann and Bob met; Ann saw ("
    assert source["source"]["spans"]["io"] == [8, 11]


def test_a_recipe_of_completions_is_told_in_a_line() -> None:
    shipped = DistributionSpec(data="ioi", counterfactual="abc", split="test")
    assert in_short(shipped.model_dump(mode="json"), "f" * 64) == "ioi/abc, split=test"
    own = DistributionSpec(data="file:/x/p.jsonl", layout="mib", group_columns=("a", "b"), seed=3)
    assert in_short(own.model_dump(mode="json"), "f" * 64) == (
        "file:/x/p.jsonl@fffffff, layout=mib, group_columns=a+b, seed=3"
    )
    assert unusual(own.model_dump(mode="json")) == {"layout": "mib", "group_columns": ["a", "b"]}
