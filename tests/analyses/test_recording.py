import pytest
import torch

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
