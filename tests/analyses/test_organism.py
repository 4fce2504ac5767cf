"""The model of our own: how it is trained again, and what the shipped one does."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from analyses.language_model import LanguageModel
from analyses.organism import card, export, measuring
from analyses.organism.corpus import corpus_tokenizer, load_corpus, texts
from analyses.organism.recipe import Mix, Recipe, Shape, Stage
from analyses.organism.sequences import Sampler
from analyses.organism.tokenizer import UNKNOWN
from analyses.organism.training import OtherRecipe, Training
from analyses.prompts.distributions import DistributionSpec, build
from analyses.prompts.labels import SCHEMES
from analyses.prompts.option_sets import half
from analyses.prompts.tokenization import load_tokenizer

CORPUS = load_corpus()
TINY = Recipe(
    steps=200,
    tokens=1024,
    learning_rate=4e-3,
    shape=Shape(layers=1, heads=2, d_model=32, d_mlp=64),
)
STAGES = (0, 50, 100, 150, 190)  # a step of each


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return corpus_tokenizer(CORPUS)


@pytest.fixture(scope="module")
def shipped() -> LanguageModel:
    return LanguageModel.load(export.SHIPPED)


@pytest.fixture(scope="module")
def shipped_tokenizer() -> Tokenizer:
    return load_tokenizer(export.SHIPPED / "tokenizer.json")


def start(tokenizer: Tokenizer, recipe: Recipe = TINY) -> Training:
    return Training(recipe, tokenizer, Sampler(tokenizer, CORPUS, recipe))


def weights(training: Training) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in training.model.parameters()])


def test_a_seed_and_a_step_decide_a_batch(words: Tokenizer) -> None:
    one, same = (Sampler(words, CORPUS, TINY) for _ in range(2))
    other = Sampler(words, CORPUS, replace(TINY, seed=1))
    same.batch(7)  # what was drawn before changes nothing
    assert torch.equal(one.batch(3).ids, same.batch(3).ids)
    assert not torch.equal(one.batch(3).ids, one.batch(4).ids)
    assert not torch.equal(one.batch(3).ids, other.batch(3).ids)


def test_no_set_of_options_is_held_out(words: Tokenizer) -> None:
    sampler = Sampler(words, CORPUS, replace(TINY, tokens=16384))
    sets = {
        frozenset(block.options)
        for step in STAGES
        for block in sampler.batch(step).blocks
        if block.options
    }
    assert len(sets) > 400
    assert {half(sorted(each)) for each in sets} == {"train"}


def test_the_curriculum_goes_from_two_options_to_all(words: Tokenizer) -> None:
    sampler = Sampler(words, CORPUS, replace(TINY, tokens=8192))
    seen = [{len(block.options) for block in sampler.batch(step).blocks} for step in STAGES]
    assert seen == [{0, 2}, {0, 2, 3, 4}, *([{0, 2, 3, 4, 5, 6}] * 3)]


def test_answers_are_marked_where_they_stand(words: Tokenizer) -> None:
    batch = Sampler(words, CORPUS, TINY).batch(100)
    first = batch.blocks[0]
    spans = [first.text[start:stop] for start, stop in first.answers]
    marked = batch.ids[0][batch.answers[0]].tolist()
    assert words.decode(marked).startswith(" ".join(each for each in spans if each))


def test_every_shipped_text_can_be_read_and_written(words: Tokenizer) -> None:
    for text in texts(CORPUS):
        encoding = words.encode(text)
        assert UNKNOWN not in encoding.tokens
        assert words.decode(encoding.ids) == text.strip(" ")


@pytest.mark.parametrize("labels", SCHEMES)
@pytest.mark.parametrize("separators", ["(A)", "A.", "A)", "A:"])
def test_every_prompt_can_be_read_again(words: Tokenizer, labels: str, separators: str) -> None:
    for data in ("colours", "facts"):
        spec = DistributionSpec(
            data=data, labels=labels, separators=separators, options=5, shots=1, size=32
        )
        for prompt in build(spec).prompts:
            ids = words.encode(prompt.text).ids
            assert UNKNOWN not in words.encode(prompt.text).tokens
            assert words.encode(words.decode(ids)).ids == ids


def test_stopping_and_going_on_changes_nothing(words: Tokenizer, tmp_path: Path) -> None:
    whole, begun, resumed = (start(words) for _ in range(3))
    whole.run(lambda *_: None, until=6)
    begun.run(lambda *_: None, until=3)
    begun.save(tmp_path / "saved")
    resumed.resume(tmp_path / "saved")
    resumed.run(lambda *_: None, until=6)
    assert torch.equal(weights(whole), weights(resumed))


def test_another_recipe_is_not_gone_on_with(words: Tokenizer, tmp_path: Path) -> None:
    start(words).save(tmp_path / "saved")
    with pytest.raises(OtherRecipe, match="--resume"):
        start(words, replace(TINY, seed=1)).resume(tmp_path / "saved")


@pytest.mark.slow
def test_two_hundred_steps_find_the_label_of_a_colour_among_two(words: Tokenizer) -> None:
    two = Stage(end=1.0, options={2: 1.0}, colours=1.0, marked=0.6, length=64)
    mix = Mix(letters=0.0, prelude=0.0)
    losses: list[float] = []
    start(words, replace(Recipe(), tokens=1024, mix=mix, curriculum=(two,))).run(
        lambda _, each: losses.append(each.answers), until=200
    )
    assert losses[0] > 6  # about the logarithm of the vocabulary's size
    assert sum(losses[-20:]) / 20 < 0.3


def test_the_shipped_files_are_those_of_the_card() -> None:
    sums = (export.SHIPPED / export.SUMS).read_text(encoding="ascii").splitlines()
    recorded = {name: digest for digest, name in (line.split("  ") for line in sums)}
    files = sorted(path.name for path in export.SHIPPED.iterdir())
    assert files == sorted([*recorded, export.SUMS, export.CARD])
    assert "model.safetensors" in files
    for name, digest in recorded.items():
        assert hashlib.sha256((export.SHIPPED / name).read_bytes()).hexdigest() == digest
    assert sum(path.stat().st_size for path in export.SHIPPED.iterdir()) <= 8e6


def test_the_shipped_recipe_is_the_one_in_the_code(
    words: Tokenizer, shipped_tokenizer: Tokenizer
) -> None:
    assert Recipe.read((export.SHIPPED / export.RECIPE).read_bytes()) == Recipe()
    assert shipped_tokenizer.to_str() == words.to_str()


@pytest.mark.parametrize(
    ("data", "labels", "least"),
    [
        ("colours", "ABCD", 0.99),
        ("colours", "random_letters", 0.95),
        ("facts", "ABCD", 0.95),
    ],
)
def test_the_shipped_model_answers_held_out_questions(
    shipped: LanguageModel, shipped_tokenizer: Tokenizer, data: str, labels: str, least: float
) -> None:
    figure = measuring.measure(shipped, shipped_tokenizer, card.held_out(data, labels=labels))
    assert figure.prompts >= 500
    assert figure.accuracy >= least
    assert figure.label_mass >= 0.95
    cells = f"{figure.accuracy:.3f} | {figure.label_mass:.3f}"
    (row,) = (row for row in _rows() if row.startswith(f"| labels {labels} |"))
    assert cells in row  # the card says the same


def _rows() -> list[str]:
    return (export.SHIPPED / export.CARD).read_text(encoding="utf-8").splitlines()
