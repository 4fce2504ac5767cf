"""What libraries raise while a model is loaded, proved or asked is told in a sentence."""

import errno

import pytest
import torch

from analyses import checkup
from analyses.errors import Refused
from analyses.foreign import DoesNotFit, EndedWith, in_free_memory, in_words, is_out_of_memory
from analyses.language_model import LanguageModel

RAISED = [IndexError("list index out of range"), KeyError("full_attention"), AssertionError()]


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_what_a_familys_code_raises_in_the_proof_names_the_family(
    saved, monkeypatch, error: Exception
) -> None:
    def raises(*_args: object, **_kwargs: object) -> None:
        raise error

    folder = saved("llama")
    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaMLP.forward", raises)
    says = rf"The proof of .*, a 'llama' model, ended with {type(error).__name__}"
    with pytest.raises(EndedWith, match=says) as ended:
        LanguageModel.load(folder)
    assert "test_foreign.py, line" in str(ended.value)


def test_what_a_config_raises_while_it_is_read_is_told(saved) -> None:
    folder = saved("llama", head_dim=8)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"head_dim": 8', '"head_dim": [8]'))
    with pytest.raises(Refused, match=r"'llama' model"):
        LanguageModel.load(folder)


def test_a_device_that_is_not_there_is_told(saved) -> None:
    with pytest.raises(EndedWith, match=r"Loading .*'gpt2' model, ended with"):
        LanguageModel.load(saved("gpt2"), device="cuda:97")


def test_a_distribution_at_which_the_model_raises_is_told_and_the_others_are_asked(
    load, monkeypatch
) -> None:
    lm = load("gpt2", vocab_size=300, n_positions=512)
    monkeypatch.setattr(checkup, "STANDARD", ("facts/chinchilla/ABCD",))
    lm.model.transformer.wpe.weight.data = lm.model.transformer.wpe.weight.data[:30]
    found = checkup.check(lm, prompts=2, progress=lambda _name: None)
    assert found.behaviour == {}
    (said,) = found.distrust
    assert said.startswith(
        "Cannot measure the model on facts/chinchilla/ABCD. Measuring a 'gpt2' model ended"
    )


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_a_command_says_that_a_model_does_not_fit(error: Exception) -> None:
    says = "big does not fit in the free memory"
    with pytest.raises(DoesNotFit, match=says), in_free_memory("big"):
        raise error


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(errno.ENOSPC, "full")])
def test_what_the_machine_refuses_is_not_the_models_fault(error: OSError) -> None:
    with pytest.raises(type(error)) as raised, in_words("Reading it"):
        raise error
    assert raised.value is error


def test_a_lack_of_memory_stays_what_it_is() -> None:
    with pytest.raises(MemoryError), in_words("Loading"):
        raise MemoryError
    with pytest.raises(RuntimeError) as refused, in_words("Loading"):
        torch.empty(10**15)
    assert is_out_of_memory(refused.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
