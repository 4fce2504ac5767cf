"""Items: a question with its answer and distractors; those of the shipped data sets."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from io import StringIO
from unicodedata import normalize

from analyses.prompts.data_names import SHIPPED, UnknownData
from analyses.prompts.references import Order
from analyses.prompts.streams import Stream, content_hash_of_all


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question, its answer and all distractors; `id` is `relation/subject`.

    For items from a file, `id` is the question's subject and the row's number, and `where` is the
    row. `order` is set if an option names others, so that the options must keep their order.
    """

    id: str
    topic: str
    question: str
    answer: str
    distractors: tuple[str, ...]
    where: str = field(default="", compare=False)
    order: Order | None = None

    @property
    def relation(self) -> str:
        """The table that the item and its distractors come from."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row of a table. `also_true` are other answers in the table that are defensible too."""

    subject: str
    answer: str
    also_true: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table of facts that share one question, and so their candidate answers."""

    name: str
    topic: str
    question: str
    facts: tuple[Fact, ...]

    def items(self) -> list[Item]:
        """One item per fact."""
        answers = {fact.answer for fact in self.facts}
        return [
            Item(
                id=f"{self.name}/{fact.subject}",
                topic=self.topic,
                question=self.question.format(subject=fact.subject),
                answer=fact.answer,
                distractors=tuple(sorted(answers - {fact.answer} - fact.also_true)),
            )
            for fact in self.facts
        ]


def load_relations() -> list[Relation]:
    """The tables of `facts`."""
    folder = files("analyses").joinpath("data", "facts")
    described = json.loads(folder.joinpath("relations.json").read_bytes())
    return [
        Relation(
            **relation, facts=_read_facts(folder.joinpath(f"{relation['name']}.csv").read_bytes())
        )
        for relation in described
    ]


def _read_facts(table: bytes) -> tuple[Fact, ...]:
    # From bytes, so that the locale's encoding and line ends cannot affect a prompt.
    return tuple(
        Fact(
            subject=row["subject"],
            answer=row["answer"],
            also_true=frozenset(row["also_true"].split("|")) - {""},
        )
        for row in csv.DictReader(StringIO(table.decode("utf-8"), newline=""))
    )


def _colours() -> list[Item]:
    """Every object in every colour; the question states the colour, so no knowledge is needed."""
    path = files("analyses").joinpath("data", "colours", "colours.json")
    described = json.loads(path.read_bytes())
    topic, colours, forms = (described[name] for name in ("topic", "colours", "forms"))
    items = []
    for thing in described["objects"]:
        for colour in colours:
            form = Stream("form", thing, colour).choice(forms)
            items.append(
                Item(
                    id=f"{thing}/{colour}",
                    topic=topic,
                    question=form.format(object=thing, colour=colour),
                    answer=colour,
                    distractors=tuple(sorted(set(colours) - {colour})),
                )
            )
    return items


@cache
def _items(data: str) -> tuple[Item, ...]:
    if data == "colours":
        return tuple(_colours())
    return tuple(item for relation in load_relations() for item in relation.items())


def load_items(data: str) -> list[Item]:
    """Every item of a shipped data set, in the order of its tables; raises `UnknownData`."""
    if data not in SHIPPED:
        raise UnknownData(data)
    return list(_items(data))


def asked(question: str, answer: str) -> str:
    """A key of a question and its answer, regardless of case, width and spaces.

    Prompts with the same key are not independent, whatever their options and rows.
    """
    return "\n".join(
        " ".join(normalize("NFKC", text).casefold().split()) for text in (question, answer)
    )


def digest(items: Sequence[Item]) -> str:
    """A hash of the items' content."""
    return content_hash_of_all(_content(each) for each in items)


def _content(item: Item) -> list[object]:
    order = [] if item.order is None else [item.order.place, item.order.letters]
    return [item.id, item.topic, item.question, item.answer, item.distractors, *order]
