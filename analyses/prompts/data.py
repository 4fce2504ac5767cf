"""Loads the questions of a recipe: a shipped data set, files, or a hub data set."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from analyses.prompts import data_names
from analyses.prompts.answers import Reading
from analyses.prompts.bounds import Bounds
from analyses.prompts.items import Item, digest, load_items
from analyses.prompts.rows import Reader
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.tables import Columns, items_of


@dataclass(frozen=True, kw_only=True)
class Data:
    """The items of a data set, and a hash of their content."""

    items: tuple[Item, ...]
    digest: str
    own: bool = False  # the user's own data, where the options of an item are those of its row
    repeated: int = 0  # rows left out as duplicates
    remarks: tuple[str, ...] = ()  # how the user's rows were interpreted


def load(
    spec: DistributionSpec, *, roots: Sequence[Path] = (), bounds: Bounds | None = None
) -> Data:
    """The data of a spec. `bounds` default to `Bounds()`.

    Raises a `Refused`, such as for files outside `roots`, if any.
    """
    if spec.data in data_names.SHIPPED:
        items = load_items(spec.data)
        return Data(items=tuple(items), digest=digest(items))
    columns = Columns(
        question=spec.question_column,
        choices=spec.choices_columns,
        answer=spec.answer_column,
        subject=spec.subject_column,
    )
    reading = None if spec.answer_reading == "auto" else Reading(spec.answer_reading)
    bounds = bounds or Bounds()
    with closing(Reader(spec.data, columns.names, bounds=bounds, roots=roots)) as reader:
        table = items_of(spec.data, reader.of_data(spec.data), columns, reading, bounds=bounds)
    return Data(
        items=table.items,
        digest=digest(table.items),
        own=True,
        repeated=table.repeated,
        remarks=table.remarks,
    )
