"""The rows of Parquet files, which a process of its own reads: pyarrow cannot be bounded here."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO

from analyses.errors import Refused
from analyses.prompts import parquet_reader
from analyses.prompts.bounds import Beyond, Tally
from analyses.prompts.raw_row import BrokenTable, RawRow


@dataclass(frozen=True)
class Other:
    """A value that is no text, number or list, as Python writes it."""

    written: str

    def __repr__(self) -> str:
        return self.written


class ParquetRows:
    """Reads some columns of Parquet files. Its process starts with the first file."""

    def __init__(self, columns: Sequence[str], tally: Tally) -> None:
        self._columns = columns
        self._tally = tally
        self._ends = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process."""
        self._ends.close()
        self._process = None

    def rows(self, file: BinaryIO, path: Path) -> Iterator[RawRow]:
        """The rows of an open file; raises a `Refused`."""
        answers = self._answers(file, path)
        first = next(answers)
        names = first.get("names", ())
        for number, said in enumerate(answers, start=1):
            if "end" in said:
                return
            self._tally.add_row(len(self._columns))
            where = f"{path.name} row {number}"
            yield RawRow(where=where, values=said["row"], columns=names)

    def _answers(self, file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
        """What the process says of the file; its last word is `end`."""
        process = self._process or self._start()
        socket.send_fds(self._files, [b"1"], [file.fileno()])
        assert process.stdout
        while line := process.stdout.readline():
            said = json.loads(line, object_hook=_value)
            if "beyond" in said:
                bound, found = said["beyond"]
                raise Beyond(path.name, bound, getattr(self._tally.bounds, bound), found)
            if "broken" in said:
                raise BrokenTable(path, said["broken"])
            yield said
        raise self._ended(process, path)

    def _start(self) -> subprocess.Popen[bytes]:
        self._files, theirs = socket.socketpair()
        self._ends.callback(self._files.close)
        asked = {
            "socket": theirs.fileno(),
            "columns": list(self._columns),
            "bounds": asdict(self._tally.bounds),
        }
        with theirs:
            self._process = process = subprocess.Popen(
                (sys.executable, "-P", parquet_reader.__file__, json.dumps(asked)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._ends.callback(_end, process)
        late = Timer(self._tally.seconds_left, process.kill)
        late.daemon = True
        late.start()
        self._ends.callback(late.cancel)
        return process

    def _ended(self, process: subprocess.Popen[bytes], path: Path) -> Refused:
        """Why it ended before it was told to."""
        code = process.wait()
        if code == -signal.SIGXCPU or not self._tally.seconds_left:
            return self._tally.bounds.passed("seconds", path.name)
        return BrokenTable(path, f"the process that read it ended with {code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _value(found: dict[str, Any]) -> Any:
    return Other(found[parquet_reader.OTHER]) if parquet_reader.OTHER in found else found
