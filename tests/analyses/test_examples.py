"""The examples in docstrings print what they say, with a small model and two of its prompts."""

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest
from studied import read_for

from analyses import engine
from analyses.language_model import LanguageModel
from analyses.organism.export import SHIPPED

NAMES = [
    *("language_model", "metrics", "proportions", "subspaces"),
    *(f"engine.{each.name}" for each in iter_modules(engine.__path__)),
]
EXAMPLES = [
    example
    for name in NAMES
    for example in doctest.DocTestFinder().find(import_module(f"analyses.{name}"))
    if example.examples
]


@pytest.fixture(scope="module")
def given() -> dict[str, object]:
    """What an analysis is given."""
    lm = LanguageModel.load(SHIPPED)
    return {"lm": lm, "prompts": read_for(lm, size=2)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_prints_what_it_says(given: dict[str, object], example: doctest.DocTest) -> None:
    example.globs |= given
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append)
    assert tried
    assert not failed, "".join(said)


def test_the_interface_of_the_engine_has_examples() -> None:
    shown = {example.name.removeprefix("analyses.") for example in EXAMPLES}
    assert shown >= {
        "language_model.LanguageModel",
        "language_model.LanguageModel.attention_rows",
        "language_model.LanguageModel.decompose",
        "language_model.LanguageModel.replay",
        "engine.interventions.Intervention",
        "engine.interventions.Patch",
        "engine.patterns.divergence",
        "engine.patterns.entropy",
    }
