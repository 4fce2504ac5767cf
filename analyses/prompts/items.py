"""The questions of the shipped data sets, each with every answer that is false for it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import StringIO

from analyses.errors import Refused, did_you_mean

DATA_SETS = ("facts",)


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question, its answer and every candidate that is false; `id` is `relation/subject`."""

    id: str
    topic: str
    question: str
    answer: str
    distractors: tuple[str, ...]

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


class UnknownData(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No data named {name!r}.{did_you_mean(name, DATA_SETS)} "
            f"Known data: {', '.join(DATA_SETS)}."
        )


def load_relations(data: str) -> list[Relation]:
    """The tables of a shipped data set; raises `UnknownData`."""
    if data not in DATA_SETS:
        raise UnknownData(data)
    folder = files("analyses").joinpath("data", data)
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


@cache
def _items(data: str) -> tuple[Item, ...]:
    return tuple(item for relation in load_relations(data) for item in relation.items())


def load_items(data: str) -> list[Item]:
    """Every item of a shipped data set, in the order of its tables; raises `UnknownData`."""
    return list(_items(data))


def content_hash(value: object) -> str:
    """sha256 over the canonical JSON of plain values: the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode("ascii")).hexdigest()


def digest(items: Sequence[Item]) -> str:
    """What the items are, as one hash."""
    return content_hash([asdict(item) for item in items])
