"""Completions of a spec: loads their items, splits them, and draws as many as are asked for."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from analyses.errors import Refused
from analyses.prompts import tasks
from analyses.prompts.bounds import Bounds
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.draw_order import in_rounds
from analyses.prompts.items import Item
from analyses.prompts.pair_columns import Layout, PairColumns
from analyses.prompts.pair_tables import column_names, completions_of
from analyses.prompts.prompt import CompletionPrompt, completion_prompt
from analyses.prompts.rows import Reader
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.splits import test_units
from analyses.prompts.streams import content_hash_of_all, rank


class TooFewCompletions(Refused):
    def __init__(self, spec: DistributionSpec, available: int) -> None:
        where = "" if spec.split == "all" else f" in the split {spec.split!r}"
        super().__init__(
            f"A size of {spec.size} is not possible: {spec.data!r} has {available} prompts{where}. "
            + (f"Choose a size from 1 to {available}." if available else "Choose another split.")
        )


@dataclass(frozen=True, kw_only=True)
class CompletionData:
    """The items of completions, and a hash of their content."""

    items: tuple[CompletionItem, ...]
    digest: str
    repeated: int = 0  # rows left out as duplicates
    remarks: tuple[str, ...] = ()  # how the user's rows were interpreted


def load(spec: DistributionSpec, *, roots: Sequence[Path], bounds: Bounds) -> CompletionData:
    """The completions of a spec. Raises a `Refused`, such as for files outside `roots`, if any."""
    if spec.is_shipped:
        items = tasks.items(spec.data, spec.counterfactual)
        return CompletionData(items=items, digest=digest(items))
    columns, layout = _columns(spec), Layout(spec.layout)
    names = column_names(columns, layout)
    with closing(Reader(spec.data, names, bounds=bounds, roots=roots)) as reader:
        rows = reader.of_data(spec.data)
        table = completions_of(spec.data, rows, columns, layout, bounds=bounds)
    return CompletionData(
        items=table.items,
        digest=digest(table.items),
        repeated=table.repeated,
        remarks=table.remarks,
    )


def _columns(spec: DistributionSpec) -> PairColumns:
    return PairColumns(
        prompt=spec.prompt_column,
        correct=spec.correct_column,
        others=spec.others_column,
        counterfactual=spec.counterfactual_column,
        counterfactual_correct=spec.counterfactual_correct_column,
        spans=spec.spans_column,
        counterfactual_spans=spec.counterfactual_spans_column,
        subject=spec.subject_column,
        groups=spec.group_columns,
    )


def draw(items: Sequence[CompletionItem], spec: DistributionSpec) -> list[CompletionItem]:
    """The items of the split, spread over their relations. Raises `TooFewCompletions`."""
    available = in_rounds(_in_split(items, spec), spec.seed)
    if len(available) < spec.size:
        raise TooFewCompletions(spec, len(available))
    drawn = islice(available, spec.size)
    return sorted(drawn, key=lambda item: rank(spec.seed, "order", item.id))


def _in_split(items: Sequence[CompletionItem], spec: DistributionSpec) -> list[CompletionItem]:
    """The items of the split: one in five units is in test, whatever the seed."""
    if spec.split == "all":
        return list(items)
    test = test_units(item.unit for item in items)
    return [item for item in items if (item.unit in test) == (spec.split == "test")]


def prompts_of(
    number: int, item: CompletionItem
) -> tuple[CompletionPrompt, CompletionPrompt | None]:
    """The prompt of an item, and its counterfactual."""
    asked = completion_prompt(number, item.id, item.asked, item.groups)
    if item.counterfactual is None:
        return asked, None
    return asked, completion_prompt(number, item.id, item.counterfactual, item.groups)


def lengths(item: CompletionItem) -> list[int]:
    """The characters of its text, and of its counterfactual if it has one."""
    return [len(each.text) for each in (item.asked, item.counterfactual) if each]


def as_item(item: CompletionItem) -> Item:
    """The question, answer and distractors that stand for it in tables of items."""
    right = sorted(item.asked.candidates[index] for index in item.asked.correct)
    return Item(
        id=item.id,
        topic=item.topic,
        question=item.asks or item.asked.text,
        answer=" | ".join(right),
        distractors=tuple(each for each in item.asked.candidates if each not in right),
        where=item.where,
    )


def digest(items: Sequence[CompletionItem]) -> str:
    """A hash of the items' content."""
    return content_hash_of_all(
        [
            *(item.id, item.topic, item.unit, item.asks, dict(item.groups)),
            *map(_content, (item.asked, item.counterfactual)),
        ]
        for item in items
    )


def _content(completion: Completion | None) -> list[object]:
    if completion is None:
        return []
    spans = {name: list(where) for name, where in completion.spans.items()}
    return [
        *(completion.text, completion.joint, completion.candidates, completion.correct),
        spans,
    ]
