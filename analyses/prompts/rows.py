"""The rows of a person's file of questions (JSONL, CSV, Parquet) or hub data set, one by one."""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses import hub
from analyses.errors import MayNotBeRead, Refused
from analyses.hub import HubRevision
from analyses.prompts.data_names import ALL, FolderName, HubName
from analyses.prompts.files import NotUtf8, existing

MOST_CELL = 10_000_000  # characters
SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class RawRow:
    """One row as it lies in its file; `problem` says why it could not even be read."""

    where: str
    values: Mapping[str, Any]
    problem: str | None = None


class UnknownFormat(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is none of the kinds that can be read. Save it as {', '.join(SUFFIXES)}."
        )


class NothingToRead(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The folder {path} holds no file that was asked for and ends in {', '.join(SUFFIXES)}."
        )


class BrokenTable(Refused):
    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"{path} cannot be read: {error}. Save it again.")


class NoSuchPart(Refused):
    def __init__(self, name: HubName, found: Sequence[str]) -> None:
        super().__init__(
            f"{name.repo!r} at revision {name.revision} has no parquet files of {name.config!r}, "
            f"{name.split!r}. It has: {', '.join(found[:20]) or 'none at all'}. Write "
            f"hub:OWNER/NAME:CONFIG:SPLIT@REVISION."
        )


def of_file(path: Path, *, roots: Sequence[Path] = ()) -> Iterator[RawRow]:
    """The rows of one file, by its ending; raises a `Refused` where it is no such file."""
    real = existing(path, roots=roots)
    readers = dict(zip(SUFFIXES, (_jsonl, _csv, _parquet), strict=True))
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnknownFormat(path)
    try:
        yield from reader(real, path.name)
    except UnicodeDecodeError as error:
        raise NotUtf8(path, error, line=_first_bad_line(real)) from None
    except PermissionError as error:
        raise MayNotBeRead(error, path) from None
    except OSError as error:
        raise BrokenTable(path, error) from None


def _first_bad_line(path: Path) -> int | None:
    """The line that is not UTF-8, counted from 1; the decoder only knows its place in a chunk."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def of_folder(folder: FolderName, *, roots: Sequence[Path] = ()) -> Iterator[RawRow]:
    """The rows of all files below a folder, in the order of their paths.

    With a config and a split, those of a hub data set's files: CONFIG/SPLIT-….
    """
    path, config, split = folder
    real = existing(path, roots=roots, folder=True)
    found = {each.relative_to(real).as_posix(): each for each in _files_below(real)}
    names = sorted(name for name in found if name.lower().endswith(SUFFIXES))
    if config and split:
        names = [name for name in names if _is_part(name, config, split)]
    if not names:
        raise NothingToRead(path)
    for name in names:
        for row in of_file(found[name], roots=roots):
            where = name + row.where.removeprefix(found[name].name)
            yield RawRow(where=where, values=row.values, problem=row.problem)


def _files_below(folder: Path) -> Iterator[Path]:
    """Every file; a folder that may not be read is refused, as nobody would miss its rows."""

    def refuse(error: OSError) -> None:
        raise MayNotBeRead(error, folder) from None

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (path for name in names if (path := Path(parent, name)).is_file())


def of_hub(name: HubName) -> Iterator[RawRow]:
    """The rows of a hub data set: CONFIG/SPLIT-….parquet, or data/SPLIT-… where it has no configs.

    Its files are read as those of a folder are; no code of a data set is ever run.
    """
    which = HubRevision(name.repo, name.revision, "dataset")
    hub.fetch(which, ["README.md"])  # which is small; with it comes the list of all files
    known = sorted(path for path in hub.listed(which) if path.endswith(".parquet"))
    files = [path for path in known if _is_part(path, name.config, name.split)]
    if not files:
        raise NoSuchPart(name, known)
    folder = hub.fetch(which, files)
    for path in files:
        yield from of_file(folder / path)


def _is_part(path: str, config: str, split: str) -> bool:
    """Whether it is `config/split.parquet` or one piece of that, `config/split-….parquet`."""
    folder, _, file = path.rpartition("/")
    belongs = folder == config or (folder in ("", "data") and config == ALL)
    return belongs and re.fullmatch(rf"{re.escape(split)}(-[\w-]+)?\.\w+", file) is not None


def _jsonl(path: Path, name: str) -> Iterator[RawRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{name} line {number}"
            if not line.strip():
                continue
            values: Any = {}
            problem = None
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                values = json.loads(text, object_pairs_hook=_object)
            except UnicodeDecodeError:
                problem = "it is not UTF-8"
            except _KeyTwice as twice:
                problem = str(twice)
            except (ValueError, RecursionError) as error:
                problem = f"it is not JSON: {error}"
            if not isinstance(values, dict):
                values, problem = {}, "it is not a JSON object"
            yield RawRow(where=where, values=values, problem=problem)


class _KeyTwice(Exception):
    """A JSON object has two values under one key, of which either may be meant."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _KeyTwice(f"it holds {twice!r} twice")
    return values


def _csv(path: Path, name: str) -> Iterator[RawRow]:
    csv.field_size_limit(MOST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        header = next(rows, [])
        twice = [column for column in header if header.count(column) > 1]
        if twice:
            raise BrokenTable(path, ValueError(f"two columns are called {twice[0]!r}"))
        while True:
            problem = None
            try:
                row = next(rows, None)
            except csv.Error as error:
                row, problem = [], f"it is not CSV: {error}"
            if row is None:
                return
            if not row and problem is None:
                continue
            if problem is None and len(row) != len(header):
                problem = f"it has {len(row)} cells under a header of {len(header)}"
            yield RawRow(
                where=f"{name} line {rows.line_num}",
                values=dict(zip(header, row, strict=False)),
                problem=problem,
            )


def _parquet(path: Path, name: str) -> Iterator[RawRow]:
    import pyarrow as pa  # a third of a second, for those who have such a file
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise BrokenTable(path, ValueError(f"two columns are called {twice[0]!r}"))
            batches: Iterable[pa.RecordBatch] = table.iter_batches(batch_size=1000)
            for batch in batches:
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(where=f"{name} row {number}", values=values)
    except pa.ArrowException as error:
        raise BrokenTable(path, error) from None
