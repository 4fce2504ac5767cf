"""The rows of Parquet files, read in a subprocess whose memory and time can be limited."""

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
    """The repr of a value that is not a text, number or list."""

    written: str

    def __repr__(self) -> str:
        return self.written


class ParquetRows:
    """Reads some columns of Parquet files. The subprocess starts with the first file."""

    def __init__(self, columns: Sequence[str], tally: Tally) -> None:
        self._columns = columns
        self._tally = tally
        self._ends = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the subprocess."""
        self._ends.close()
        self._process = None

    def rows(self, file: BinaryIO, path: Path) -> Iterator[RawRow]:
        """The rows of an open file. Raises a `Refused`."""
        messages = self._messages(file, path)
        first = next(messages)
        names = first.get("names", ())
        for number, message in enumerate(messages, start=1):
            if "end" in message:
                return
            self._tally.add_row(len(self._columns))
            where = f"{path.name} row {number}"
            yield RawRow(where=where, values=message["row"], columns=names)

    def _messages(self, file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
        """The subprocess's messages about the file, the last of which is `end`."""
        process = self._process or self._start()
        socket.send_fds(self._files, [b"1"], [file.fileno()])
        assert process.stdout
        while line := process.stdout.readline():
            message = json.loads(line, object_hook=_value)
            if "beyond" in message:
                bound, found = message["beyond"]
                raise Beyond(path.name, bound, getattr(self._tally.bounds, bound), found)
            if "broken" in message:
                raise BrokenTable(path, message["broken"])
            yield message
        raise self._ended(process, path)

    def _start(self) -> subprocess.Popen[bytes]:
        self._files, theirs = socket.socketpair()
        self._ends.callback(self._files.close)
        request = {
            "socket": theirs.fileno(),
            "columns": list(self._columns),
            "bounds": asdict(self._tally.bounds),
        }
        with theirs:
            self._process = process = subprocess.Popen(
                (sys.executable, "-P", parquet_reader.__file__, json.dumps(request)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._ends.callback(_end, process)
        timeout = Timer(self._tally.seconds_left, process.kill)
        timeout.daemon = True
        timeout.start()
        self._ends.callback(timeout.cancel)
        return process

    def _ended(self, process: subprocess.Popen[bytes], path: Path) -> Refused:
        """The error for a subprocess that ended early."""
        code = process.wait()
        if code == -signal.SIGXCPU or not self._tally.seconds_left:
            return self._tally.bounds.passed("seconds", path.name)
        return BrokenTable(path, f"the process that read it ended with {code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _value(decoded: dict[str, Any]) -> Any:
    return Other(decoded[parquet_reader.OTHER]) if parquet_reader.OTHER in decoded else decoded
