"""The training corpus of `mcq-small`: the shipped data, and every word of its prompts."""

from collections.abc import Iterator, Mapping, Sequence

from tokenizers import Tokenizer

from analyses.organism.tokenizer import build_tokenizer
from analyses.prompts import templates
from analyses.prompts.items import Item, load_items

DATA = ("colours", "facts")


def load_corpus() -> Mapping[str, Sequence[Item]]:
    """The items of each shipped data set."""
    return {data: load_items(data) for data in DATA}


def texts(corpus: Mapping[str, Sequence[Item]]) -> Iterator[str]:
    """All texts that prompts are composed of, except labels."""
    for template in templates.TEMPLATES.values():
        yield from template.prelude.split("{topic}")
    yield "Answer: true false"
    for item in (item for items in corpus.values() for item in items):
        yield from (item.topic, item.question, item.answer, *item.distractors)


def corpus_tokenizer(corpus: Mapping[str, Sequence[Item]]) -> Tokenizer:
    """The tokenizer with the vocabulary of the shipped data."""
    return build_tokenizer(texts(corpus))
