"""Prompt distributions: which questions, in which words, with the answer at which label."""

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from analyses.errors import Refused, did_you_mean
from analyses.prompts import templates
from analyses.prompts.items import DATA_SETS, Item, content_hash, digest, load_items
from analyses.prompts.templates import Span

LABELS = {"ABCD": ("A", "B", "C", "D")}


class UnknownLabels(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No labels named {name!r}.{did_you_mean(name, LABELS)} "
            f"Known labels: {', '.join(LABELS)}."
        )


class UnreadableName(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The distribution name {name!r} has too many parts. "
            f"A name is data/template/labels, such as {DistributionSpec().name!r}."
        )


class SizeOutOfRange(Refused):
    def __init__(self, size: int, data: str, available: int) -> None:
        super().__init__(
            f"A size of {size} is not possible: {data!r} has {available} items. "
            f"Choose a size from 1 to {available}."
        )


class DistributionSpec(BaseModel):
    """Everything that decides the prompts; checked when it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field("facts", title="Data", description="Where the questions come from.")
    template: str = Field(
        "chinchilla", title="Template", description="The words around a question."
    )
    labels: str = Field("ABCD", title="Labels", description="What the options are called.")
    seed: int = Field(0, title="Seed", description="Another seed draws other questions and orders.")
    size: int = Field(64, title="Size", description="How many prompts.")

    @model_validator(mode="after")
    def _exists(self) -> Self:
        available = len(load_items(self.data))
        templates.find(self.template)
        if self.labels not in LABELS:
            raise UnknownLabels(self.labels)
        if not 1 <= self.size <= available:
            raise SizeOutOfRange(self.size, self.data, available)
        return self

    @property
    def name(self) -> str:
        """`data/template/labels`; seed and size are told apart."""
        return f"{self.data}/{self.template}/{self.labels}"

    @classmethod
    def parse(cls, name: str, *, size: int = 64, seed: int = 0) -> Self:
        """The spec of a name; parts left out at its end take their defaults."""
        parts = name.split("/")
        if len(parts) > 3:
            raise UnreadableName(name)
        named = dict(zip(("data", "template", "labels"), parts, strict=False))
        return cls.model_validate({**named, "size": size, "seed": seed})


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One text for a language model; its answer is `options[correct]`, beside `labels[correct]`."""

    number: int
    item: str
    text: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    correct: int
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The prompts of a spec, and beside each the item it asks; `hash` covers all they came from."""

    spec: DistributionSpec
    items: tuple[Item, ...]
    prompts: tuple[Prompt, ...]
    hash: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {
            "name": self.spec.name,
            "spec": self.spec.model_dump(),
            "hash": self.hash,
            "prompts": [
                {**asdict(prompt), "topic": item.topic}
                for item, prompt in zip(self.items, self.prompts, strict=True)
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A distribution that can be built by name, and how many items it can draw from."""

    name: str
    items: int


def recipes() -> list[Recipe]:
    """Every shipped distribution."""
    return [
        Recipe(name="/".join(parts), items=len(load_items(parts[0])))
        for parts in product(DATA_SETS, templates.TEMPLATES, LABELS)
    ]


def build(spec: DistributionSpec) -> Distribution:
    """The prompts of a spec: the same bytes on every machine."""
    available = load_items(spec.data)
    template = templates.find(spec.template)
    items = _draw_items(available, spec)
    positions = _draw_positions(items, spec)
    prompts = tuple(
        _prompt(number, item, positions[item.id], template, spec)
        for number, item in enumerate(items)
    )
    return Distribution(
        spec=spec,
        items=items,
        prompts=prompts,
        hash=content_hash(
            {
                "spec": spec.model_dump(),
                "items": digest(available),
                "template": asdict(template),
                "texts": [prompt.text for prompt in prompts],
            }
        ),
    )


def _rank(seed: int, purpose: str, *names: str) -> str:
    """A sort key that looks random and is the same on every machine and Python."""
    return content_hash([seed, purpose, *names])


def _draw_items(available: list[Item], spec: DistributionSpec) -> tuple[Item, ...]:
    """One item of each relation, then a second of each, until there are enough; then shuffled.

    A larger size keeps the items of a smaller one.
    """
    taken: Counter[str] = Counter()
    rounds: list[tuple[int, str, Item]] = []
    for item in sorted(available, key=lambda item: _rank(spec.seed, "item", item.id)):
        relation = item.relation
        rounds.append((taken[relation], _rank(spec.seed, "relation", relation), item))
        taken[relation] += 1
    chosen = [item for *_, item in sorted(rounds, key=lambda entry: entry[:2])][: spec.size]
    return tuple(sorted(chosen, key=lambda item: _rank(spec.seed, "order", item.id)))


def _draw_positions(items: tuple[Item, ...], spec: DistributionSpec) -> dict[str, int]:
    """Where each item's answer stands: every position equally often, as far as the size allows."""
    k = len(LABELS[spec.labels])
    order = sorted(items, key=lambda item: _rank(spec.seed, "position", item.id))
    # Without the offset, the first labels would get the surplus under every seed.
    offset = int(_rank(spec.seed, "first position"), 16)
    return {item.id: (offset + index) % k for index, item in enumerate(order)}


def _prompt(
    number: int, item: Item, correct: int, template: templates.Template, spec: DistributionSpec
) -> Prompt:
    labels = LABELS[spec.labels]
    options = sorted(
        item.distractors, key=lambda option: _rank(spec.seed, "distractor", item.id, option)
    )[: len(labels) - 1]
    options.insert(correct, item.answer)
    rendered = templates.render(
        template, topic=item.topic, question=item.question, labels=labels, options=options
    )
    return Prompt(
        number=number,
        item=item.id,
        text=rendered.text,
        labels=labels,
        options=tuple(options),
        correct=correct,
        label_spans=rendered.label_spans,
        option_spans=rendered.option_spans,
    )
