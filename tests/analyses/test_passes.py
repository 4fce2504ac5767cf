"""The one door to a model, against plain passes of one sequence at a time."""

import ast
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import analyses
from analyses.engine.lengths import DependsOnEarlierPrompts
from analyses.engine.passes import BeyondPositions
from analyses.language_model import LanguageModel
from analyses.prompts.limits import PromptTooLong

LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 8,
}
LONGROPE = {"rope_parameters": LONG, "original_max_position_embeddings": 8}
SHORT, OVER, LONGER = ((3, 1, 4), (1, 5)), ((9, 2, 6, 5), (3, 5, 8, 9, 7)), ((1,) * 9, (2, 7))
KINDS = [
    ("phi3", LONGROPE),
    ("gpt2", {}),
    ("opt", {}),
    ("mistral", {"sliding_window": 3}),
    ("gemma3_text", {}),
]


def plainly(lm: LanguageModel, context: tuple[int, ...], continuation: tuple[int, ...]):
    """The mean log-probability by one pass of one sequence."""
    with torch.no_grad():
        logits = lm.model(torch.tensor([[*context, *continuation]]), use_cache=False).logits[0]
    rows = logits.float().log_softmax(-1)[len(context) - 1 : -1]
    return rows[torch.arange(len(continuation)), torch.tensor(continuation)].mean()


@pytest.mark.parametrize(("family", "choices"), KINDS)
def test_texts_of_many_lengths_are_as_likely_together_as_one_by_one(load, family, choices) -> None:
    lm = load(family, **choices)
    pairs = [SHORT, OVER, LONGER, SHORT, OVER]
    expected = torch.stack([plainly(lm, *pair) for pair in pairs])
    assert_close(lm.mean_log_probs(pairs), expected, atol=1e-5, rtol=1e-5)


def test_texts_beyond_angles_that_remember_are_refused_as_prompts_are(load) -> None:
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    lm = load("llama", rope_parameters=dynamic, max_position_embeddings=8)
    before = lm.mean_log_probs([SHORT])
    with pytest.raises(DependsOnEarlierPrompts, match="A prompt of 9 tokens"):
        lm.mean_log_probs([SHORT, OVER])
    assert_close(lm.mean_log_probs([SHORT]), before, atol=0, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_more_tokens_than_learnt_positions_are_refused(load, prompts, family: str) -> None:
    lm = load(family, **{"n_positions" if family == "gpt2" else "max_position_embeddings": 10})
    lm.record(lm.batch(prompts([10])))
    with pytest.raises(PromptTooLong, match=r"are too long .* after 10 tokens, .* has 11"):
        lm.batch(prompts([11]))
    with pytest.raises(BeyondPositions, match=r"11 tokens cannot be read: .* positions for 10"):
        lm.mean_log_probs([SHORT, LONGER])


def test_rotary_models_have_no_table_of_positions(load) -> None:
    assert load("llama", max_position_embeddings=60).limits.max_positions is None


def test_models_are_called_at_the_door_only() -> None:
    """Training apart, which measures nothing."""
    root = Path(analyses.__file__).parent
    calls = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) or getattr(node.func, "attr", None)) == "model"
    ]
    assert sorted(calls) == ["engine/passes.py", "engine/passes.py", "organism/training.py"]
