"""The questions that a recipe names, from wherever they come."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyses.prompts import data_names, rows
from analyses.prompts.answers import Reading
from analyses.prompts.items import Item, digest, load_items
from analyses.prompts.spec import DistributionSpec
from analyses.prompts.tables import Columns, items_of


@dataclass(frozen=True, kw_only=True)
class Data:
    """The items, and one hash over all of them."""

    items: tuple[Item, ...]
    digest: str
    own: bool = False  # a person's, so the options of each item are what its row holds
    repeated: int = 0  # rows that were left out, since they only repeat another
    remarks: tuple[str, ...] = ()  # how a person's rows were read


def load(spec: DistributionSpec, *, roots: Sequence[Path] = ()) -> Data:
    """The data of a spec. Files must lie below one of the roots, where there are some."""
    if spec.data in data_names.SHIPPED:
        items = load_items(spec.data)
        return Data(items=tuple(items), digest=digest(items))
    where = Path(spec.data.partition(":")[2])
    if spec.data.startswith(data_names.HUB):
        found = rows.of_hub(data_names.hub_name(spec.data))
    elif spec.data.startswith(data_names.FOLDER):
        found = rows.of_folder(data_names.folder_name(spec.data), roots=roots)
    else:
        found = rows.of_file(where, roots=roots)
    columns = Columns(
        question=spec.question_column,
        choices=spec.choices_columns,
        answer=spec.answer_column,
        subject=spec.subject_column,
    )
    reading = None if spec.answer_reading == "auto" else Reading(spec.answer_reading)
    table = items_of(spec.data, found, columns, reading)
    return Data(
        items=table.items,
        digest=digest(table.items),
        own=True,
        repeated=table.repeated,
        remarks=table.remarks,
    )
