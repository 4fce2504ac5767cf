"""The questions of the shipped data sets, each with every answer that is false for it."""

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
    """A question, its answer and every candidate that is false; `id` is `relation/subject`.

    Of a file, the relation is the subject of the question and the subject its number; `where` is
    the row it was read from. Options that name others have an `order` to stay in.
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
        """The table the item comes from; the distractors are answers of the same table."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row of a table. `also_true` are answers of the table that are defensible here as well."""

    subject: str
    answer: str
    also_true: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table of facts that share one question, and so their candidates."""

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
    # From bytes: neither the locale's encoding nor its line ends may reach a prompt.
    return tuple(
        Fact(
            subject=row["subject"],
            answer=row["answer"],
            also_true=frozenset(row["also_true"].split("|")) - {""},
        )
        for row in csv.DictReader(StringIO(table.decode("utf-8"), newline=""))
    )


def _colours() -> list[Item]:
    """Every object in every colour, which the question itself tells: binding without knowledge."""
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
    """What a question asks and its answer, as one key: the same for both, however they are written.

    Prompts of one key are not independent, beside whichever options and from whichever rows.
    """
    return "\n".join(
        " ".join(normalize("NFKC", text).casefold().split()) for text in (question, answer)
    )


def digest(items: Sequence[Item]) -> str:
    """What the items are, as one hash."""
    return content_hash_of_all(_content(each) for each in items)


def _content(item: Item) -> list[object]:
    order = [] if item.order is None else [item.order.place, item.order.letters]
    return [item.id, item.topic, item.question, item.answer, item.distractors, *order]
