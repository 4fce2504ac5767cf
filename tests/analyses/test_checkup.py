"""What a check of a model says, on models whose answers are known."""

import pytest
import torch

from analyses import checkup
from analyses.language_model import LanguageModel
from analyses.prompts.distributions import DistributionSpec


def asked(_name: str) -> None:
    pass


@pytest.fixture
def says_a(load, random_model) -> LanguageModel:
    """A model that finds A twice as likely as all else together, whatever it reads."""
    model = random_model("gpt2", vocab_size=300, n_positions=512)
    model.lm_head.weight.data.zero_()
    model.transformer.ln_f.weight.data.zero_()
    model.transformer.ln_f.bias.data.fill_(1.0)
    model.lm_head.weight.data[ord("A") - ord("!")] = torch.tensor(2.0 * 299).log() / 32
    return load(model)


def test_answers_are_means_over_prompts_of_the_split(says_a) -> None:
    found = checkup.ask(says_a, DistributionSpec.parse("colours", size=40, split="test"))
    assert (found.n, found.accuracy, found.chance) == (40, 0.25, 0.25)
    assert found.label_mass == pytest.approx((2 * 299 + 3) / (3 * 299), rel=1e-4)
    assert found.at_chance
    assert list(found.intervals) == list(checkup.REPORTED)
    low, high = found.intervals["accuracy"]
    assert low < 0.25 < high
    assert found.intervals["content_accuracy"][0] <= found.content_accuracy


def test_what_may_not_be_trusted_is_said(says_a) -> None:
    found = checkup.check(says_a, prompts=20, progress=asked)
    assert found.closes
    assert 0 < found.largest_gap < 1e-5
    assert list(found.behaviour) == list(checkup.STANDARD)
    chance = [sentence for sentence in found.distrust if "not above chance" in sentence]
    assert len(chance) == 4
    # Random letters are hardly ever A.
    mass = [sentence for sentence in found.distrust if "other than a label" in sentence]
    assert [sentence.split()[1] for sentence in mass] == [
        "colours/chinchilla/random_letters",
        "facts/chinchilla/random_letters",
    ]


def test_half_precision_is_said(saved, loaded) -> None:
    lm = LanguageModel.load(saved("gpt2", vocab_size=300, n_positions=512), dtype="bfloat16")
    loaded.append(lm)
    first, *_ = checkup.check(lm, prompts=2, progress=asked).distrust
    assert first.startswith("The weights are in bfloat16")


def test_a_distribution_that_a_model_cannot_be_asked_is_said(load, monkeypatch) -> None:
    lm = load("gpt2", vocab_size=300, n_positions=512)
    monkeypatch.setattr(checkup, "STANDARD", ("colours/mmlu/numbers", "colours/chinchilla/ABCD"))
    found = checkup.check(lm, prompts=4, progress=asked)
    assert list(found.behaviour) == ["colours/chinchilla/ABCD"]
    assert "on colours/mmlu/numbers. The label '1' is not one token" in "".join(found.distrust)


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_said(load) -> None:
    lm = load("gpt2", vocab_size=200)
    (said,) = checkup.unread(lm)
    assert said.startswith("The tokenizer has 2")
    assert "the embedding has 200 rows" in said


def test_prompts_beyond_the_trained_length_are_said(load) -> None:
    lm = load("llama", vocab_size=300, max_position_embeddings=64)
    found = checkup.check(lm, prompts=2, progress=asked)
    said, *_ = [each for each in found.distrust if "trained on" in each]
    assert said.startswith("On colours/chinchilla/ABCD, 2 of the 2 prompts have more tokens")
