"""How long a prompt a model can read, against what a plain forward pass can."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from analyses.engine.reach import limits_of
from analyses.prompts.limits import Limits, PromptTooLong, TokenBeyondEmbedding


def plain(model: Any, length: int) -> None:
    with torch.no_grad():
        model(torch.full((1, length), 5), use_cache=False)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_table_of_positions_ends_where_a_forward_pass_fails(random_model, family: str) -> None:
    model = random_model(family)
    found = limits_of(model)
    assert found == Limits(n_embeddings=60, max_positions=64)
    plain(model, 64)
    with pytest.raises(IndexError):
        plain(model, 65)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma3_text", "phi3"])
def test_rotary_models_read_on_beyond_what_they_were_trained_on(random_model, family) -> None:
    model = random_model(family)
    found = limits_of(model)
    assert found == Limits(n_embeddings=60, trained_positions=64)
    plain(model, 65)


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe"])
def test_tokens_that_experts_choose_are_no_table_of_positions(random_model, family: str) -> None:
    """Residuals are looked up by numbers too, in memory that one pass leaves to the next."""
    model = random_model(family)
    model.set_experts_implementation("eager")
    assert {limits_of(model).max_positions for _ in range(20)} == {None}


def test_angles_that_depend_on_earlier_prompts_are_a_limit(random_model) -> None:
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    assert limits_of(random_model("llama", rope_parameters=dynamic)).max_positions == 64


def test_prompts_beyond_a_limit_are_named_before_they_are_read(load, prompts) -> None:
    lm = load("opt", max_position_embeddings=16)
    lm.record(lm.batch(prompts([16, 3])))
    with pytest.raises(PromptTooLong, match=r"1 of the 3 prompts .* prompt 1: .* 16 tokens.* 17"):
        lm.batch(prompts([16, 17, 3]))


def test_a_table_that_is_indexed_is_found_as_one_that_is_embedded() -> None:
    config = AutoConfig.for_model("ctrl", n_embd=32, n_layer=2, n_head=4, n_positions=24, dff=48)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert limits_of(model).max_positions == 24
    plain(model, 24)
    with pytest.raises(IndexError):
        plain(model, 25)


@pytest.mark.parametrize("where", ["input_ids", "label_ids"])
def test_tokens_beyond_the_embedding_are_named(load, prompts, where: str) -> None:
    lm = load("llama")
    (prompt,) = prompts([4])
    object.__setattr__(prompt, where, (*getattr(prompt, where)[:3], 60))
    with pytest.raises(TokenBeyondEmbedding, match=r"Prompt 0 .* token 60, .* has only 60 rows"):
        lm.batch([prompt])


def test_the_warning_counts_the_prompts(prompts) -> None:
    limits = Limits(n_embeddings=60, trained_positions=8)
    assert limits.warnings(prompts([8, 3])) == ()
    (said,) = limits.warnings(prompts([9, 3, 20]))
    assert said.startswith("2 of the 3 prompts have more tokens than the 8 that")
    assert "up to 20" in said
