"""Reads the rows of JSONL and CSV files; the size of each is checked before it is parsed."""

import csv
import json
from codecs import getincrementaldecoder
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from analyses.prompts.bounds import Bounds, Tally
from analyses.prompts.files import NotUtf8
from analyses.prompts.raw_row import BrokenTable, RawRow, twice

TOO_DEEP = "its lists or objects are nested too deeply"


def jsonl(file: BinaryIO, path: Path, tally: Tally) -> Iterator[RawRow]:
    """A row for each line that is not blank. Raises a `Refused`."""
    most = tally.bounds.row_bytes
    number = 0
    while line := file.readline(most + 1):
        number += 1
        where = f"{path.name} line {number}"
        if len(line) > most:
            raise tally.bounds.passed("row_bytes", where)
        if line.strip():
            row = _json_row(line, where, first=number == 1)
            tally.bounds.check("columns", len(row.values), where)
            tally.add_row(len(row.values))
            yield row


def _json_row(line: bytes, where: str, *, first: bool) -> RawRow:
    values: Any = {}
    problem = None
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        values = json.loads(text, object_pairs_hook=_object)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except _KeyTwice as key:
        problem = str(key)
    except RecursionError:
        problem = f"its JSON cannot be read: {TOO_DEEP}"
    except json.JSONDecodeError as error:
        problem = f"it is not JSON: {error}"
    except ValueError:
        problem = "it has a number with too many digits"
    if problem is None and not isinstance(values, dict):
        values, problem = {}, "it is not a JSON object"
    return RawRow(where=where, values=values, problem=problem)


class _KeyTwice(Exception):
    """A JSON object has two values for the same key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _KeyTwice(f"it has the key {twice([key for key, _ in pairs])} twice")
    return values


def csv_rows(file: BinaryIO, path: Path, tally: Tally) -> Iterator[RawRow]:
    """A row for each after the header, which names the columns. Raises a `Refused`."""
    csv.field_size_limit(tally.bounds.row_bytes)
    text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield from _csv_rows(text, path, tally)
    except UnicodeDecodeError as error:
        raise NotUtf8(path, error, line=_first_bad_line(file, tally.bounds.row_bytes)) from None
    finally:
        text.detach()  # which would close the file


def _csv_rows(text: TextIOWrapper, path: Path, tally: Tally) -> Iterator[RawRow]:
    lines = _Lines(text, path.name, tally.bounds)
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise BrokenTable(path, f"its first line is not CSV: {error}") from None
    tally.bounds.check("columns", len(header), path.name)
    if name := twice(header):
        raise BrokenTable(path, f"two columns are called {name}")
    while (row := _csv_row(rows, lines, header, path.name)) is not None:
        if row.values or row.problem:
            tally.add_row(len(row.values))
            yield row


def _csv_row(rows: Any, lines: "_Lines", header: list[str], name: str) -> RawRow | None:
    """The next row, without values if its line is empty; None at the end."""
    problem = None
    lines.in_row = 0
    try:
        cells = next(rows, None)
    except csv.Error as error:
        cells, problem = [], f"it is not CSV: {error}"
    if cells is None:
        return None
    if cells and len(cells) != len(header):
        problem = f"it has {len(cells)} cells, but the header has {len(header)}"
    return RawRow(
        where=f"{name} line {rows.line_num}",
        values=dict(zip(header, cells, strict=False)),
        problem=problem,
    )


class _Lines:
    """The lines of a text; raises `Beyond` if the lines of one row are too long together."""

    def __init__(self, text: TextIOWrapper, name: str, bounds: Bounds) -> None:
        self.in_row = 0  # characters of the row that is being read
        self._text, self._name, self._bounds = text, name, bounds

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        """Raises `Beyond`."""
        most = self._bounds.row_bytes
        line = self._text.readline(most + 1)
        if not line:
            raise StopIteration
        self.in_row += len(line)
        if self.in_row > most:
            raise self._bounds.passed("row_bytes", self._name)
        return line


def _first_bad_line(file: BinaryIO, most: int) -> int | None:
    """The first line that is not UTF-8, from 1; the decoder only knows its offset in a chunk."""
    file.seek(0)
    decoder = getincrementaldecoder("utf-8")()
    number = 1
    while line := file.readline(most):
        try:
            decoder.decode(line)
        except UnicodeDecodeError:
            return number
        number += line.endswith(b"\n")
    return None
