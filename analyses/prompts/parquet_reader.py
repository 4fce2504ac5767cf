"""A subprocess that reads untrusted Parquet files, with limits enforced by the system.

It runs as a script: open files arrive through a socket, JSON lines go to stdout.
"""

import json
import os
import resource
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

OTHER = "\0other"  # the key for a value that JSON cannot represent
_TAIL = 8  # bytes: the length of the footer, and a magic word
_TOGETHER = 256  # rows in memory at once


class Beyond(Exception):
    """The name of the bound that was exceeded, and the amount, or None if it is unknown."""


class Broken(Exception):
    """Why the file cannot be read."""


def main() -> None:
    """Read every file that arrives, until the socket is closed."""
    request = json.loads(sys.argv[1])
    bounds = request["bounds"]
    _confine(bounds["memory"], bounds["seconds"])
    with socket.socket(fileno=request["socket"]) as files:
        while True:
            _, descriptors, _, _ = socket.recv_fds(files, 1, 1)
            if not descriptors:
                return
            with open(descriptors[0], "rb") as file:
                for line in _answer(file, request["columns"], bounds):
                    sys.stdout.write(line + "\n")
                sys.stdout.flush()


def _confine(memory: int, seconds: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # the system has no such limit
            resource.setrlimit(what, (most, most))
    # These reserve address space: other memory pools, and numpy's threads, 40 MB per core.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def _answer(file: BinaryIO, wanted: list[str], bounds: dict[str, int]) -> Iterator[str]:
    """A JSON line for the columns, for each row, and for the end or the error."""
    try:
        for message in _read(file, wanted, bounds):
            line = json.dumps(message, default=lambda value: {OTHER: repr(value)[:100]})
            if len(line) > bounds["row_bytes"]:
                raise Beyond("row_bytes", None)
            yield line
        yield json.dumps({"end": True})
    except Beyond as beyond:
        yield json.dumps({"beyond": beyond.args})
    except MemoryError:
        yield json.dumps({"beyond": ("memory", None)})
    except Exception as error:  # pyarrow may raise anything for a broken file
        yield json.dumps({"broken": (str(error) or repr(error))[:300]})


def _read(file: BinaryIO, wanted: list[str], bounds: dict[str, int]) -> Iterator[dict[str, Any]]:
    _check_footer(file, bounds["footer"])
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with pq.ParquetFile(file) as table:
        names = table.schema_arrow.names
        _check("columns", len(names), bounds)
        if duplicates := [name for name, count in Counter(names).items() if count > 1]:
            raise Broken(f"two columns are called {duplicates[0]!r}")
        columns = [name for name in wanted if name in names]
        _check_claims(table.metadata, set(columns), bounds)
        yield {"names": names}
        expanded = 0
        for batch in table.iter_batches(_TOGETHER, columns=columns, use_threads=False):
            batch = _decoded(batch)  # a dictionary page may repeat one long text in many rows
            expanded += batch.nbytes
            if expanded > bounds["bytes"]:
                raise Beyond("bytes", None)
            for row in batch.to_pylist() if columns else [{}] * batch.num_rows:
                _check_cells(row, bounds)
                yield {"row": row}


def _decoded(batch: Any) -> Any:
    """The batch without dictionary encoding, so that its size is that of its texts."""
    import pyarrow as pa

    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names) if columns else batch


def _check_footer(file: BinaryIO, most: int) -> None:
    """Raises `Broken` or `Beyond`: pyarrow reads the whole footer at once."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read(_TAIL)
    if tail[4:] == b"PARE":
        raise Broken("it is encrypted")
    if tail[4:] != b"PAR1":
        raise Broken("it is not a Parquet file, or is truncated")
    footer = int.from_bytes(tail[:4], "little")
    if footer > most:
        raise Beyond("footer", footer)
    file.seek(0)


def _check_claims(metadata: Any, columns: set[str], bounds: dict[str, int]) -> None:
    """Raises `Beyond` by the sizes in the file's metadata, before anything is decompressed."""
    _check("rows", metadata.num_rows, bounds)
    values = expanded = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            path = chunk.path_in_schema
            if any(path == name or path.startswith(f"{name}.") for name in columns):
                values += chunk.num_values
                expanded += chunk.total_uncompressed_size
    _check("cells", values, bounds)
    _check("bytes", expanded, bounds)


def _check_cells(row: dict[str, Any], bounds: dict[str, int]) -> None:
    """Raises `Beyond` if a list or text in a row is too long."""
    for value in row.values():
        if isinstance(value, list):
            _check("choices", len(value), bounds)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                _check("cell", len(text), bounds)


def _check(bound: str, found: int, bounds: dict[str, int]) -> None:
    if found > bounds[bound]:
        raise Beyond(bound, found)


if __name__ == "__main__":
    main()
