"""Reads the rows of a user's file of questions (JSONL, CSV, Parquet) or hub data set."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from analyses import hub
from analyses.errors import MayNotBeRead, Refused
from analyses.hub import HubRevision
from analyses.prompts import data_names
from analyses.prompts.bounds import Bounds, Tally
from analyses.prompts.data_names import ALL, FolderName, HubName
from analyses.prompts.files import existing, named, opened
from analyses.prompts.parquet_rows import ParquetRows
from analyses.prompts.raw_row import BrokenTable, RawRow
from analyses.prompts.text_rows import csv_rows, jsonl

SUFFIXES = (".jsonl", ".csv", ".parquet")


class UnknownFormat(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{named(path)} has an unsupported file type. Save it as one of {', '.join(SUFFIXES)}."
        )


class NothingToRead(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"No matching file found in {path}. Files must end in {', '.join(SUFFIXES)}, and with "
            f":CONFIG:SPLIT be named CONFIG/SPLIT-…."
        )


class NoSuchPart(Refused):
    def __init__(self, name: HubName, found: Sequence[str]) -> None:
        super().__init__(
            f"{name.repo!r} at revision {name.revision} has no parquet files of {name.config!r}, "
            f"{name.split!r}. It has: {', '.join(found[:20]) or 'none'}. Write "
            f"hub:OWNER/NAME:CONFIG:SPLIT@REVISION."
        )


class Reader:
    """Reads the data of one recipe, within bounds; `columns` are those that are needed."""

    def __init__(
        self, what: str, columns: Sequence[str], *, bounds: Bounds, roots: Sequence[Path] = ()
    ) -> None:
        self._roots = roots
        self._tally = Tally(bounds, what)
        self._parquet = ParquetRows(columns, self._tally)

    def close(self) -> None:
        """End the subprocess that reads Parquet files."""
        self._parquet.close()

    def of_data(self, data: str) -> Iterator[RawRow]:
        """The rows of the files, folder or hub data set that a recipe names. Raises a `Refused`."""
        if data.startswith(data_names.HUB):
            return self.of_hub(data_names.hub_name(data))
        if data.startswith(data_names.FOLDER):
            return self.of_folder(data_names.folder_name(data))
        return self.of_file(Path(data.removeprefix(data_names.FILE)))

    def of_file(self, path: Path) -> Iterator[RawRow]:
        """The rows of one file, read by its suffix. Raises a `Refused`."""
        ending = path.suffix.lower()
        if ending not in SUFFIXES:
            existing(path, roots=self._roots)
            raise UnknownFormat(path)
        try:
            with opened(path, most=self._tally.bounds.bytes, roots=self._roots) as file:
                self._tally.add("bytes", os.fstat(file.fileno()).st_size)
                self._tally.check_time()
                yield from self._rows(ending, file, path)
        except PermissionError as error:
            raise MayNotBeRead(error, path) from None
        except OSError as error:
            raise BrokenTable(path, error) from None

    def _rows(self, ending: str, file: BinaryIO, path: Path) -> Iterator[RawRow]:
        match ending:
            case ".jsonl":
                return jsonl(file, path, self._tally)
            case ".csv":
                return csv_rows(file, path, self._tally)
        return self._parquet.rows(file, path)

    def of_folder(self, folder: FolderName) -> Iterator[RawRow]:
        """The rows of all files below a folder, in the order of their paths.

        With a config and a split, those of a hub data set's files: CONFIG/SPLIT-….
        """
        path, config, split = folder
        real = existing(path, roots=self._roots, folder=True)
        found = {each.relative_to(real).as_posix(): each for each in self._files_below(real)}
        names = sorted(found)
        if config and split:
            names = [name for name in names if _is_part(name, config, split)]
        if not names:
            raise NothingToRead(path)
        for name in names:
            for row in self.of_file(found[name]):
                yield replace(row, where=name + row.where.removeprefix(found[name].name))

    def of_hub(self, name: HubName) -> Iterator[RawRow]:
        """The rows of a hub data set: CONFIG/SPLIT-….parquet, or data/SPLIT-… without configs.

        Its files are read as those of a folder are; no code of a data set is ever run.
        """
        which = HubRevision(name.repo, name.revision, "dataset")
        hub.fetch(which, ["README.md"])  # small, and the list of all files comes with it
        sizes = hub.sizes(which)
        known = sorted(path for path in sizes if path.endswith(".parquet"))
        files = [path for path in known if _is_part(path, name.config, name.split)]
        if not files:
            raise NoSuchPart(name, known)
        self._tally.add("entries", len(files))
        self._tally.bounds.check("bytes", sum(sizes[path] for path in files), which)
        folder = hub.fetch(which, files)
        self._tally.begin()
        for path in files:
            yield from self.of_file(folder / path)

    def _files_below(self, folder: Path) -> Iterator[Path]:
        """Every file of questions; links to folders are not followed.

        Raises `MayNotBeRead` for an unreadable folder, so that its rows are not silently missing.
        """
        left = [folder]
        while left:
            try:
                with os.scandir(left.pop()) as entries:
                    for entry in entries:
                        self._tally.add("entries", 1)
                        if entry.is_dir(follow_symlinks=False):
                            left.append(Path(entry.path))
                        elif entry.name.lower().endswith(SUFFIXES) and Path(entry.path).is_file():
                            yield Path(entry.path)
            except OSError as error:
                raise MayNotBeRead(error, folder) from None


def _is_part(path: str, config: str, split: str) -> bool:
    """Whether a file is `config/split.parquet` or a shard of it, `config/split-….parquet`."""
    folder, _, file = path.rpartition("/")
    belongs = folder == config or (folder in ("", "data") and config == ALL)
    return belongs and re.fullmatch(rf"{re.escape(split)}(-[\w-]+)?\.\w+", file) is not None
