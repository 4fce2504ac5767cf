"""Turns the rows of a user's data into completions; reports all bad rows at once."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from analyses.errors import Refused, shown
from analyses.prompts import mib_rows, pair_rows
from analyses.prompts.bad_rows import NoRows, Rejected, Unusable
from analyses.prompts.bounds import Bounds
from analyses.prompts.cells import Cells
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.joints import MEANING, Why
from analyses.prompts.mib_rows import LeftOut
from analyses.prompts.pair_columns import USUAL, Layout, PairColumns
from analyses.prompts.raw_row import RawRow
from analyses.prompts.units import Units
from analyses.prompts.written_pairs import CompletedPair, WrittenPair, completed

MOST_GROUPS = 50  # different values of a group column

_READ: Mapping[Layout, Callable[[Cells, PairColumns, PairColumns], WrittenPair]] = {
    Layout.PAIRS: pair_rows.read,
    Layout.TRANSFORMER_LENS: pair_rows.read,
    Layout.MIB: mib_rows.read,
}


class AllLeftOut(Refused):
    def __init__(self, data: str, reason: str) -> None:
        super().__init__(
            f"No row of {data} can be used, since {reason}. Name another column of counterfactuals."
        )


@dataclass(frozen=True, kw_only=True)
class CompletionTable:
    """The completions of all rows; `remarks` say how the rows were read."""

    items: tuple[CompletionItem, ...]
    repeated: int  # rows left out as duplicates
    remarks: tuple[str, ...]


def column_names(columns: PairColumns, layout: Layout) -> list[str]:
    """The names of all columns that `completions_of` reads."""
    names = columns.of(layout).names
    return [*names, mib_rows.LABEL, *mib_rows.COUNTERFACTUALS] if layout is Layout.MIB else names


def completions_of(
    data: str, rows: Iterable[RawRow], columns: PairColumns, layout: Layout, *, bounds: Bounds
) -> CompletionTable:
    """The completions of the rows, whose columns are those of the layout unless they have other
    names. Raises `BadRows`, `NoRows` or `AllLeftOut`.
    """
    table = _Table(data, columns.of(layout), layout, bounds)
    bad = Rejected()
    for number, row in enumerate(rows, start=1):
        try:
            table.add(number, row)
        except Unusable as reason:
            bad.add(number, row.where, reason)
    bad.check(data, good=table.good)
    if not table.items:
        raise table.empty()
    return CompletionTable(
        items=tuple(table.in_units()), repeated=table.repeated, remarks=tuple(table.remarks())
    )


NO_TOPIC = "completions"  # not the file's name: a renamed file has the same prompts


class _Table:
    """The completions of the rows so far, and what they have in common."""

    def __init__(self, data: str, columns: PairColumns, layout: Layout, bounds: Bounds) -> None:
        self.items: list[CompletionItem] = []
        self.repeated = self.good = 0
        self._columns, self._layout, self._bounds = columns, layout, bounds
        self._data = data
        self._whys: Counter[Why] = Counter()
        self._left_out: Counter[str] = Counter()
        self._groups: dict[str, set[str]] = {column: set() for column in columns.groups}
        self._same_text: dict[str, CompletionItem] = {}  # the first with each text
        self._seen: dict[tuple[str, ...], CompletionItem] = {}

    def add(self, number: int, row: RawRow) -> None:
        """Add the completion of a row, unless it repeats another. Raises `Unusable`."""
        cells = Cells.of(row, self._bounds)
        usual = USUAL[self._layout]
        try:
            pair = completed(_READ[self._layout](cells, self._columns, usual))
        except LeftOut as reason:
            self._left_out[str(reason)] += 1
            return
        topic = cells.subject(self._columns.subject, usual.subject) or NO_TOPIC
        item = CompletionItem(
            id=f"{topic}/{number}",
            topic=topic,
            unit="",  # is known only with all rows
            asked=pair.asked,
            counterfactual=pair.counterfactual,
            groups={column: self._group(cells, column) for column in self._columns.groups},
            where=row.where,
        )
        if self.items:
            item = _like(item, self.items[0])
        _check_answer(item, self._same_text)
        self._keep(item, pair)

    def _keep(self, item: CompletionItem, pair: CompletedPair) -> None:
        key = _content(item)
        first = self._seen.setdefault(key, item)
        if _named(first) != _named(item):
            raise Unusable(f"it repeats {first.where} with other spans or groups")
        self.good += 1
        self._whys[pair.why] += 1
        if first is item:
            self.items.append(item)
        else:
            self.repeated += 1

    def _group(self, cells: Cells, column: str) -> str:
        known = self._groups[column]
        name = cells.name(cells.cell(column), column)
        if name not in known and len(known) == MOST_GROUPS:
            raise Unusable(
                f"{column!r} is {shown(name)}, and a column of groups may have {MOST_GROUPS} "
                f"different values; other rows have as many"
            )
        known.add(name)
        return name

    def in_units(self) -> Iterator[CompletionItem]:
        """The completions, where a prompt that is another's counterfactual is of its unit."""
        units = Units()
        prompts = {units.of(item.asked.text) for item in self.items}
        texts = [_texts(item) for item in self.items]
        for pair in [(asked, other) for asked, other in texts if units.of(other) in prompts]:
            units.join(*pair)
        for item in self.items:
            yield replace(item, unit=units.of(item.asked.text))

    def empty(self) -> Refused:
        """The error for data without completions."""
        reason = next(iter(self._left_out), None)
        return AllLeftOut(self._data, reason) if reason else NoRows(self._data, "prompt")

    def remarks(self) -> Iterator[str]:
        """How the rows were read, and which were left out."""
        for why, count in sorted(self._whys.items()):
            yield f"Rows whose candidates follow the prompt {MEANING[why]}: {count}."
        for reason, count in sorted(self._left_out.items()):
            yield f"Rows left out, as the benchmark does, since {reason}: {count}."


def _like(item: CompletionItem, first: CompletionItem) -> CompletionItem:
    """The item with its spans in the order of the first. Raises `Unusable` if it is unlike it."""
    counts = [len(each.asked.candidates) for each in (item, first)]
    if counts[0] != counts[1]:
        raise Unusable(
            f"it has {counts[0]} candidates, and {first.where} has {counts[1]}: all rows need as "
            f"many"
        )
    if (item.counterfactual is None) != (first.counterfactual is None):
        has = "no counterfactual" if item.counterfactual is None else "a counterfactual"
        raise Unusable(f"it has {has}, unlike {first.where}: all rows need one, or none")
    names = [sorted(each.asked.spans) for each in (item, first)]
    if names[0] != names[1]:
        raise Unusable(
            f"it has the spans {shown(names[0])}, and {first.where} has {shown(names[1])}: all "
            f"rows need the same"
        )
    order = list(first.asked.spans)
    return replace(
        item,
        asked=_ordered(item.asked, order),
        counterfactual=item.counterfactual and _ordered(item.counterfactual, order),
    )


def _ordered(completion: Completion, names: list[str]) -> Completion:
    if list(completion.spans) == names:
        return completion
    return replace(completion, spans={name: completion.spans[name] for name in names})


def _check_answer(item: CompletionItem, same_text: dict[str, CompletionItem]) -> None:
    """Raises `Unusable` if an item with the same text has other correct candidates."""
    first = same_text.setdefault(item.asked.text, item)
    correct = [_correct(each.asked) for each in (item, first)]
    if set(correct[0]) != set(correct[1]):
        raise Unusable(
            f"it has the same prompt as {first.where}, with another answer: {shown(correct[0])}"
        )


def _correct(completion: Completion) -> list[str]:
    return [completion.candidates[index] for index in completion.correct]


def _texts(item: CompletionItem) -> tuple[str, str]:
    return item.asked.text, (item.counterfactual or item.asked).text


def _named(item: CompletionItem) -> list[object]:
    """What rows that repeat each other must have in common."""
    spans = [each.spans for each in (item.asked, item.counterfactual) if each]
    return [spans, item.groups]


def _content(item: CompletionItem) -> tuple[str, ...]:
    """What repeats if the item repeats another."""
    other = item.counterfactual or item.asked
    return (*_texts(item), *sorted(item.asked.candidates), *sorted(_correct(other)))
