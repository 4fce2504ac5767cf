import pytest
import torch

from analyses.engine.lengths import DependsOnEarlierPrompts, UnequalLengths
from analyses.engine.recording import record

TWO = pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_oss", "llama", "mistral", "opt"])


@TWO
def test_a_batch_of_two_equals_two_batches_of_one(load, prompts, family: str) -> None:
    lm = load(family)
    both = prompts([11, 6])
    together = lm.record(lm.batch(both))
    for row, prompt in enumerate(both):
        alone = lm.record(lm.batch([prompt]))
        torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-4, rtol=1e-4)
        for one, other in zip(together.layers, alone.layers, strict=True):
            for name, value in vars(other).items():
                torch.testing.assert_close(
                    getattr(one, name)[row], value[0], atol=1e-4, rtol=1e-4, msg=name
                )


@TWO
def test_recording_changes_nothing(load, random_model, prompts, family: str) -> None:
    """The logits are those of a plain forward pass, whose attention is transformers' own."""
    lm, plain = load(family), random_model(family)
    (prompt,) = prompts([9])
    recorded = lm.record(lm.batch([prompt]))
    with torch.no_grad():
        logits = plain(torch.tensor([prompt.input_ids])).logits[:, -1]
    torch.testing.assert_close(recorded.logits, logits, atol=1e-4, rtol=1e-4)


def test_a_prompt_of_one_token_can_be_recorded(load, prompts) -> None:
    lm = load("llama")
    batch = lm.batch(prompts([1]))
    lm.decompose(lm.record(batch), batch.label_ids)


@pytest.mark.parametrize("path", ["model.layers.0.mlp", "model.layers.1.self_attn", "lm_head"])
def test_nothing_is_left_after_an_exception(load, prompts, path: str) -> None:
    lm = load("llama")
    module = lm.model.get_submodule(path)
    forward = module.forward

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("in the middle")

    module.forward = fails
    with pytest.raises(RuntimeError, match="in the middle"):
        record(lm.model, lm.anatomy, lm.batch(prompts([5, 3])))
    module.forward = forward
    lm.record(lm.batch(prompts([5, 3])))


LONG = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 8,
}


def test_prompts_on_both_sides_of_a_rotary_limit_are_never_recorded_together(load, prompts) -> None:
    """Else the short one's numbers would depend on its neighbour."""
    lm = load("phi3", rope_parameters=LONG, original_max_position_embeddings=8)
    assert lm.lengths.limit == 8
    made = prompts([6, 14, 8, 12, 10])
    cut = [[len(p.input_ids) for p in batch] for batch in lm.micro_batches(made, 5)]
    assert cut == [[6], [14], [8], [12, 10]]
    with pytest.raises(UnequalLengths, match="Prompts of 6 and 14 tokens"):
        lm.batch(made[:2])
    alone = [lm.record(lm.batch([prompt])).logits[0] for prompt in made]
    batched = [
        row for batch in lm.micro_batches(made, 5) for row in lm.record(lm.batch(batch)).logits
    ]
    torch.testing.assert_close(torch.stack(batched), torch.stack(alone), atol=1e-4, rtol=0)


def test_angles_that_remember_the_longest_prompt_are_refused_beyond_their_limit(
    load, prompts
) -> None:
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    lm = load("llama", rope_parameters=dynamic, max_position_embeddings=8)
    short, long = prompts([6, 9])
    lm.record(lm.batch([short]))
    with pytest.raises(DependsOnEarlierPrompts, match="A prompt of 9 tokens"):
        lm.batch([long])
