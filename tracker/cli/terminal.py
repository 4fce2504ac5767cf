"""How commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from enum import Enum
from typing import IO, Annotated, Any, cast
from uuid import UUID

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from analyses.shown import in_json, one_line, plain
from tracker.cli.streams import drawn_on, takes

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_WIDE = 200  # columns when output is not a terminal


class _Console(Console):
    """Prints text literally: neither markup nor escape sequences in it have any effect."""

    @property
    def file(self) -> IO[str]:
        return cast("IO[str]", drawn_on(super().file))

    @file.setter
    def file(self, new: IO[str]) -> None:
        self._file = new

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


console = _Console(
    width=None if sys.stdout.isatty() else _WIDE, markup=False, emoji=False, highlight=False
)


def print_json(value: Any) -> None:
    """Print one JSON document to stdout; dataclasses become objects."""
    typer.echo(_as_json(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print a JSON document on one line, for programs that read a stream of them."""
    typer.echo(_as_json(value))


def _as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON in Unicode if the stream can encode it, else with \\u escapes."""
    text = json.dumps(value, default=_json_value, indent=indent, ensure_ascii=False)
    if not takes(text):
        text = json.dumps(value, default=_json_value, indent=indent)
    return in_json(text)


def _json_value(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or without rows the sentence `empty`."""
    lines = [[("" if cell is None else one_line(cell)) for cell in row] for row in rows]
    if not lines:
        console.print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        numeric = all(_is_number(line[number]) for line in lines)
        table.add_column(column, justify="right" if numeric else "left", overflow="ellipsis")
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
