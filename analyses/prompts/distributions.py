"""Prompt distributions: builds the prompts of a spec, of questions or of completions."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from analyses.errors import shown
from analyses.prompts import (
    completion_data,
    data_names,
    items,
    labels,
    own_templates,
    tasks,
    templates,
)
from analyses.prompts.bounds import Bounds
from analyses.prompts.completion_data import CompletionData
from analyses.prompts.completions import CompletionItem
from analyses.prompts.data import Data, load
from analyses.prompts.items import Item, load_items
from analyses.prompts.own_templates import OwnWording
from analyses.prompts.planning import Planned, SizeOutOfRange, plan
from analyses.prompts.plans import Plan
from analyses.prompts.prompt import CompletionPrompt, Prompt, QuestionPrompt, prompt_of
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.streams import content_hash
from analyses.prompts.templates import Wording

__all__ = [
    "CompletionDistribution",
    "Distribution",
    "DistributionSpec",
    "Prompt",
    "QuestionDistribution",
    "Recipe",
    "SizeOutOfRange",
    "build",
    "recipes",
]

# Fields whose effect the hashes of data, wording and texts do not always cover.
_HASHED = {"labels", "options", "shots", "split", "seed", "size"}
_HASHED_OF_COMPLETIONS = {"split", "seed", "size"}


@dataclass(frozen=True, kw_only=True)
class Distribution(ABC):
    """The prompts of a spec; `hash` covers everything that determines them.

    `left_out` counts items with no set of options in the split, `repeated` duplicate rows, and
    `skipped` items with an option that names others. `remarks` say how the data were read.
    """

    spec: DistributionSpec
    prompts: tuple[Prompt, ...]
    hash: str
    left_out: int = 0
    repeated: int = 0
    skipped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    @abstractmethod
    def items(self) -> tuple[Item, ...]:
        """The item of each prompt; the same item may occur several times."""

    @property
    def asked(self) -> list[str]:
        """A key of what each prompt asks: prompts with equal keys are not independent."""
        return [items.asked(item.question, item.answer) for item in self.items]

    @cached_property
    def next_with_other_label(self) -> Sequence[int | None]:
        """For each prompt, the index of the next one, cyclically, with other correct labels."""
        labels = [frozenset(prompt.correct_labels) for prompt in self.prompts]
        next_with_other: list[int | None] = [None] * len(labels)
        following: int | None = None
        for number in reversed(range(2 * len(labels))):  # twice, to wrap around
            here, after = number % len(labels), (number + 1) % len(labels)
            if labels[here] != labels[after]:
                following = after
            next_with_other[here] = following
        return next_with_other

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {
            "name": self.spec.name,
            "spec": self.spec.model_dump(mode="json"),
            "hash": self.hash,
            "left_out": self.left_out,
            "repeated": self.repeated,
            "skipped": self.skipped,
            "remarks": self.remarks,
            "prompts": [
                {**prompt.to_json(), "topic": item.topic}
                for item, prompt in zip(self.items, self.prompts, strict=True)
            ],
        }


@dataclass(frozen=True, kw_only=True)
class QuestionDistribution(Distribution):
    """Multiple-choice questions, with the plan of each and the wording of all."""

    prompts: tuple[QuestionPrompt, ...]
    plans: tuple[Plan, ...]
    wording: Wording | OwnWording

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(plan.asked.item for plan in self.plans)


@dataclass(frozen=True, kw_only=True)
class CompletionDistribution(Distribution):
    """Texts to complete, each with its counterfactual if it has one."""

    prompts: tuple[CompletionPrompt, ...]
    counterfactuals: tuple[CompletionPrompt | None, ...]
    drawn: tuple[CompletionItem, ...]  # the item of each prompt

    @cached_property
    def items(self) -> tuple[Item, ...]:
        return tuple(map(completion_data.as_item, self.drawn))

    @property
    def asked(self) -> list[str]:
        """A completion asks one thing only, however its answer is written."""
        return [items.asked(item.question, "") for item in self.items]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A distribution that can be built by name, and how many items it can draw from."""

    name: str
    items: int


def recipes() -> list[Recipe]:
    """Every distribution of shipped data, templates and labels."""
    questions = [
        Recipe(name="/".join(parts), items=len(load_items(parts[0])))
        for parts in product(data_names.SHIPPED, templates.TEMPLATES, labels.SCHEMES)
    ]
    completions = [
        Recipe(name=f"{name}/{counterfactual}", items=len(tasks.items(name, counterfactual)))
        for name, task in tasks.TASKS.items()
        for counterfactual in task.counterfactuals
    ]
    return questions + completions


def build(
    spec: DistributionSpec, *, roots: Sequence[Path] = (), bounds: Bounds | None = None
) -> Distribution:
    """Build the prompts of a spec: the same bytes on every machine.

    Raises a `Refused`, such as for files outside `roots`, if any, or beyond `bounds`, which default
    to `Bounds()`.
    """
    bounds = bounds or Bounds()
    if spec.kind == "completions":
        return _completions(spec, roots, bounds)
    return _questions(spec, roots, bounds)


def _questions(
    spec: DistributionSpec, roots: Sequence[Path], bounds: Bounds
) -> QuestionDistribution:
    data = load(spec, roots=roots, bounds=bounds)
    words = _wording(spec, roots, bounds)
    planned = plan(spec, data)
    prompts = tuple(_written(planned.plans, words, spec, bounds))
    return QuestionDistribution(
        spec=spec,
        plans=planned.plans,
        prompts=prompts,
        wording=words,
        hash=content_hash(
            {
                "spec": spec.model_dump(mode="json", include=_HASHED),
                "items": data.digest,
                "wording": words.content,
                "texts": [prompt.text for prompt in prompts],
            }
        ),
        left_out=planned.left_out,
        repeated=data.repeated,
        skipped=planned.skipped,
        remarks=tuple(_remarks(data, planned)),
    )


def _completions(
    spec: DistributionSpec, roots: Sequence[Path], bounds: Bounds
) -> CompletionDistribution:
    data = completion_data.load(spec, roots=roots, bounds=bounds)
    drawn = completion_data.draw(data.items, spec)
    for number, item in enumerate(drawn):
        bounds.check("prompt", max(completion_data.lengths(item)), f"Prompt {number} ({item.id})")
    characters = sum(sum(completion_data.lengths(item)) for item in drawn)
    bounds.check("text", characters, f"The distribution {spec.name!r}")
    made = [completion_data.prompts_of(number, item) for number, item in enumerate(drawn)]
    return CompletionDistribution(
        spec=spec,
        prompts=tuple(prompt for prompt, _ in made),
        counterfactuals=tuple(counterfactual for _, counterfactual in made),
        drawn=tuple(drawn),
        hash=content_hash(
            {
                "kind": spec.kind,
                "spec": spec.model_dump(mode="json", include=_HASHED_OF_COMPLETIONS),
                "items": data.digest,
                "prompts": [item.id for item in drawn],
            }
        ),
        repeated=data.repeated,
        remarks=tuple(_remarks_on_rows(data)),
    )


def _written(
    plans: Sequence[Plan], words: Wording | OwnWording, spec: DistributionSpec, bounds: Bounds
) -> Iterator[QuestionPrompt]:
    """The prompts of the plans. Raises `Beyond` before they exceed the bounds in memory."""
    length = 0
    for number, each in enumerate(plans):
        prompt = prompt_of(number, each, words.write(each))
        length += len(prompt.text)
        if len(prompt.text) > bounds.prompt:
            raise bounds.passed("prompt", f"Prompt {number} ({each.asked.item.id})")
        if length > bounds.text:
            raise bounds.passed("text", f"The distribution {shown(spec.name)}")
        yield prompt


def _remarks_on_rows(data: Data | CompletionData) -> Iterator[str]:
    yield from data.remarks
    if data.repeated:
        yield f"Rows left out, since they only repeat another: {data.repeated}."


def _remarks(data: Data, planned: Planned) -> Iterator[str]:
    yield from _remarks_on_rows(data)
    if planned.skipped:
        yield f"Questions skipped, since one of their options names others: {planned.skipped}."
    if planned.in_order:
        yield (
            "Questions whose options stay in their order, since one of them names others: "
            f"{planned.in_order}."
        )


def _wording(spec: DistributionSpec, roots: Sequence[Path], bounds: Bounds) -> Wording | OwnWording:
    if spec.own_template is not None:
        return own_templates.own_wording(
            spec.own_template, prelude=spec.prelude, roots=roots, bounds=bounds
        )
    return templates.wording(spec.template, separators=spec.separators, prelude=spec.prelude)
