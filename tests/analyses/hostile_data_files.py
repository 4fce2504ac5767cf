"""Data files that are made to take time and memory; each is written small, or sparse."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GOOD = {"question": "Which?", "choices": ["one", "two"], "answer": 0}
HEADER = "question,choices,answer\n"
PAIR = '"[""a"", ""b""]"'


class Hostile(NamedTuple):
    """A file, what is said of it (nothing: it is read), and how the recipe asks for it."""

    name: str
    write: Callable[[Path], object]
    says: str
    fields: dict[str, Any] = {}  # noqa: RUF012
    bounds: dict[str, int] = {}  # noqa: RUF012 - where the usual ones would take long to reach


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def line(**cells: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(GOOD | cells) + "\n")


def raw(content: str) -> Callable[[Path], object]:
    """A line of JSON in which some value is written out."""
    return text('{"question": "?", "choices": ["a", "b"], "answer": 0, ' + content + "}\n")


def sparse(size: int) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return write


def again(first: str, part: str, times: int) -> Callable[[Path], object]:
    """A file of one part that is repeated, without the whole of it in memory."""

    def write(path: Path) -> None:
        with path.open("w") as file:
            file.write(first)
            for _ in range(times // 1000):
                file.write(part * 1000)

    return write


CSV = [
    Hostile("columns", text(",".join(map(str, range(600_000))) + "\n"), "has 600,000 columns"),
    Hostile("wide header", again("", "a column,", 1_000_000), "row of more than 4,194,304 bytes"),
    Hostile("same columns", text("a," * 200_000 + "a\n"), "columns, and 1,000 are allowed"),
    Hostile("sparse", sparse(2**40), "has 1,099,511,627,776 bytes of data"),
    Hostile("no newline", sparse(2**28), "row of more than 4,194,304 bytes"),
    Hostile("open quote", again(HEADER + '"', "many words\n", 2_000_000), "row of more than"),
    Hostile("row of lines", again(HEADER, '"\n",', 3_000_000), "row of more than"),
    Hostile(
        "rows",
        again("question\n", "q\n", 6_000),
        "has more than 5,000 rows",
        bounds={"rows": 5_000},
    ),
    Hostile(
        "cells",
        again("a,b,c\n", ",,\n", 2_000),
        "has more than 5,000 cells",
        bounds={"cells": 5_000},
    ),
    Hostile("bad rows", again(HEADER, "q,y,0\n", 30_000), "and 29800 more"),
    Hostile("long cell", text(f"{HEADER}{'q' * 3_000_000},{PAIR},0\n"), "3,000,000 characters"),
    Hostile("long answer", text(f"{HEADER}q,{PAIR},{'1' * 3_000_000}\n"), "3,000,000 characters"),
    Hostile("digits", text(f"{HEADER}q,{PAIR},{'1' * 99_999}\n"), "no choice, no index"),
    Hostile("deep list", text(f'{HEADER}q,"{"[" * 50_000}",0\n'), "is not a list"),
    Hostile("choices", text(f'{HEADER}q,"[{"1," * 40_000}1]",0\n'), "has 40,001 choices, and 100"),
    Hostile("UTF-16", lambda path: path.write_bytes(HEADER.encode("utf-16")), "is not UTF-8 text"),
    Hostile(
        "Latin 1",
        lambda path: path.write_bytes((HEADER + "q\n" * 50_000 + "Käse\n").encode("latin-1")),
        "is not UTF-8 text: .* in line 50002",
    ),
    Hostile(
        "bytes without lines",
        lambda path: path.write_bytes(b"a" * 50_000_000 + b"\xff"),
        "row of more than",
    ),
    Hostile("gzip", lambda path: path.write_bytes(b"\x1f\x8b\x08" + b"\0" * 100), "is not UTF-8"),
    Hostile(
        "spaces in a choice",
        text(f'{HEADER}q,"[""A{" " * 90_000}x"", ""b""]",0\n'),
        "",
    ),
    Hostile(
        "all of the above",
        text(f'{HEADER}q,"[""all of the above is{"!" * 90_000}\\nx"", ""b""]",0\n'),
        "",
    ),
    Hostile(
        "one question in nearly all rows",
        text(
            "question,subject,choices,answer\n"
            + "".join(
                f'{"the same" if n < 19_999 else "another"},s,"[""a{n}"", ""b{n}""]",0\n'
                for n in range(20_000)
            )
        ),
        "",
        {"shots": 1, "size": 200, "answer_reading": "from_0"},
    ),
]

JSONL = [
    Hostile("no newline", again("", "[[[[[[[[[[", 3_000_000), "row of more than 4,194,304 bytes"),
    Hostile("spaces", again("", " " * 100, 300_000), "row of more than 4,194,304 bytes"),
    Hostile("deep", text("[" * 1_000_000), "nested too deeply"),
    Hostile("deep objects", text('{"a":' * 500_000), "nested too deeply"),
    Hostile("deep question", line(question=json.loads("[" * 900 + "]" * 900)), "is not text"),
    Hostile("deep subject", line(subject=json.loads("[" * 900 + "]" * 900)), "is not text"),
    Hostile("wide question", line(question=[[]] * 1_000_000), "is not text"),
    Hostile("digits", raw(f'"x": {"9" * 100_000}'), "number with too many digits"),
    Hostile("fraction", raw(f'"x": 0.{"9" * 1_000_000}'), ""),
    Hostile("infinity", line(choices=[float("inf"), float("nan")]), "is not a finite number: inf"),
    Hostile("huge exponent", text('{"question": 1e999, "choices": [1, 2], "answer": 0}'), "number"),
    Hostile(
        "key twice",
        raw(",".join(f'"{n}": 0' for n in range(150_000)) + ', "149999": 0'),
        "it has the key '149999' twice",
    ),
    Hostile("keys", raw(",".join(f'"{n}": 0' for n in range(150_000))), "columns, and 1,000"),
    Hostile("choices", line(choices=[str(n) for n in range(100_000)]), "100,000 choices, and 100"),
    Hostile("long choice", line(choices=["a" * 2_000_000, "b"]), "2,000,000 characters"),
    Hostile("long label", line(answer="A" * 1_000_000), "1,000,000 characters"),
    Hostile("lists", raw(f'"x": [{"[]," * 1_000_000}[]]'), ""),
    Hostile("rows", again("", "{}\n", 6_000), "than 5,000 rows", bounds={"rows": 5_000}),
    Hostile("time", again("", "{}\n", 9_000), "more than 0 seconds", bounds={"seconds": 0}),
    Hostile("no rows", again("", "\n" * 100, 20_000), "has no rows"),
    Hostile("halves", text('{"question": "' + "\\ud800" * 10_000 + '"}'), "a lone surrogate"),
    Hostile("UTF-16", lambda path: path.write_bytes("{}\n".encode("utf-16")), "it is not UTF-8"),
]  # fmt: skip


def table(compression: str = "zstd", **columns: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        pq.write_table(pa.table(columns), path, compression=compression)

    return write


def one_long_text(path: Path) -> None:
    """A page that holds 100,000 characters once, and that they stand in 200,000 rows."""
    index = pa.array(np.zeros(200_000, dtype=np.int32))
    column = pa.DictionaryArray.from_arrays(index, pa.array(["a" * 99_999]))
    pq.write_table(pa.table({"question": column}), path)


def _footer(length: int, word: bytes = b"PAR1", before: bytes = b"") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(b"PAR1" + before + struct.pack("<I", length) + word)


def _of_nothing(count: int) -> pa.Array:
    offsets = pa.array([0, count], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.nulls(count, pa.string()))


def _lists(path: Path) -> None:
    choices = pa.concat_arrays([_of_nothing(900_000)] * 3)
    pq.write_table(pa.table({"question": ["q"] * 3, "choices": choices}), path)


def _noise(path: Path) -> None:
    noise = random.Random(0).randbytes(100_000)
    path.write_bytes(b"PAR1" + noise + struct.pack("<I", 100_000) + b"PAR1")


def _cut(path: Path) -> None:
    table(question=["q"] * 1000)(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _bad_text(path: Path) -> None:
    column = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"question": column}), path)


def _same_names(path: Path) -> None:
    columns = [pa.array(["q"]), pa.array(["r"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["question", "question"]), path)


def _pickled(path: Path) -> None:
    """The metadata that made pyarrow unpickle a type, and with it run what it likes."""
    order = f"cposix\nsystem\n(S'touch {path}.ran'\ntR.".encode()
    of_type = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": order,
    }
    schema = pa.schema([pa.field("question", pa.string(), metadata=of_type)])
    pq.write_table(pa.table({"question": ["q"]}, schema=schema), path)


MANY: dict[str, Any] = {f"c{n}": [0] for n in range(3000)}
LONG_NAME: dict[str, Any] = {"c" * 2_000_000: [0]}
PARQUET = [
    Hostile("columns", table(**MANY), "has 3,000 columns"),
    Hostile("rows", table(question=pa.nulls(50_000_000)), "has 50,000,000 rows"),
    Hostile("one long text", one_long_text, "than 90,000,000 bytes", bounds={"bytes": 90_000_000}),
    Hostile("list", table(question=["q"], choices=_of_nothing(9_000_000)), "9,000,000 choices"),
    Hostile("lists", _lists, "has 2,700,003 cells", bounds={"cells": 1_000_000}),
    *(
        Hostile(f"{codec} bomb", table(codec, question=["a" * 30_000_000]), "30,000,000 characters")
        for codec in ("zstd", "gzip", "snappy", "brotli")
    ),
    Hostile("size", table(question=["a" * 6_000_000]), "has 6,000,.*", bounds={"bytes": 5_000_000}),
    Hostile(
        "memory",
        table(question=["a" * 30_000_000]),
        "takes more than 370,000,000 bytes of memory",
        bounds={"memory": 370_000_000},
    ),
    Hostile("footer", _footer(0xFFFFFFF0), "list of columns of 4,294,967,280 bytes"),
    Hostile("sparse footer", _footer(100, before=b"\0" * 10), "cannot be read"),
    Hostile("encrypted", _footer(100, b"PARE"), "it is encrypted"),
    Hostile("noise", _noise, "cannot be read"),
    Hostile("cut", _cut, "not a Parquet file, or is truncated"),
    Hostile("no text", _bad_text, "cannot be read"),
    Hostile("same names", _same_names, "two columns are called 'question'"),
    Hostile("bytes", table(question=[b"\0" * 1_000_000]), "is not text: b'"),
    Hostile("pickled type", _pickled, "it has no column 'choices'"),
    Hostile("long name", table(**LONG_NAME), "cannot|no column"),
    Hostile("compressed", lambda path: path.write_bytes(zlib.compress(b"PAR1")), "not a Parquet"),
]  # fmt: skip


COMPLETION = {"prompt": "a b", "correct": "y", "others": "n"}
AS_PAIRS = {"layout": "pairs", "options": 4}
AS_MIB = {"layout": "mib", "options": 4}


def _pairs(*rows: dict[str, Any]) -> Callable[[Path], object]:
    lines = (json.dumps(COMPLETION | row) + "\n" for row in rows)
    return lambda path: path.write_text("".join(lines))


def _pair(says: str, fields: dict[str, Any] = AS_PAIRS, **cells: Any) -> Hostile:
    return Hostile("of " + ", ".join(cells), _pairs(cells), says, fields)


LONG, REPEATED = "q" * 2_000_000, "a" * 90_000
PAIRS_JSONL = [
    _pair("2,000,000 characters", prompt=LONG),
    _pair("2,000,000 characters", correct=LONG),
    _pair("2,000,000 characters", counterfactual=LONG),
    _pair("2,000,000 characters", spans={"s": LONG}),
    _pair("100,000 candidates, and 100 are allowed", others=["n"] * 100_000),
    _pair("a lone surrogate", counterfactual="\ud800"),
    _pair("a null character", spans={"s": "\0"}),
    _pair("cannot be called '.ud800'", spans={"\ud800": "a"}),
    _pair("100,000 spans, and 50 are allowed", spans={f"s{n}": "a" for n in range(100_000)}),
    _pair("is not an object", spans=json.loads("[" * 900 + "]" * 900)),
    _pair("is neither", spans={"s": json.loads("[" * 900 + "]" * 900)}),
    _pair("is neither", spans={"s": [0, 10**4000]}),
    _pair("could be in several places", prompt=REPEATED, spans={"s": "a" * 45_000}),
    _pair("does not have", prompt=REPEATED, spans={f"s{n}": "a" * 45_000 + "b" for n in range(9)}),
    _pair("", prompt="\r\n" * 45_000 + "b", spans={f"s{n}": [n, 90_001] for n in range(50)}),
    _pair("over 200 characters", AS_PAIRS | {"group_columns": ["g"]}, g=LONG[:999]),
    _pair("is not a list", AS_MIB, choices={"label": {}}, symbol_counterfactual=None),
    Hostile(
        "one prompt with many counterfactuals",
        _pairs(*({"counterfactual": f"c {n}"} for n in range(20_000))),
        "",
        AS_PAIRS,
    ),
    Hostile(
        "a chain of counterfactuals",
        _pairs(*({"prompt": f"{n}", "counterfactual": f"{n + 1}"} for n in range(20_000))),
        "",
        AS_PAIRS,
    ),
]
PAIRS_HEADER = "prompt,correct,others,spans\n"
PAIRS_CSV = [
    Hostile("spans", text(f"{PAIRS_HEADER}q,y,n,{'{' * 50_000}\n"), "not an object", AS_PAIRS),
    Hostile("deep spans", text(f"{PAIRS_HEADER}q,y,n,{'[' * 50_000}\n"), "not an obj", AS_PAIRS),
    Hostile("bracket", text(f"{PAIRS_HEADER}q,{'[' * 50_000},n,\n"), "", AS_PAIRS),
    Hostile("candidates", text(f'{PAIRS_HEADER}q,"[{"1," * 9_000}1]",n,\n'), "9,001 c", AS_PAIRS),
]
SPANS = pa.map_(pa.string(), pa.list_(pa.int64()))
PAIRS_PARQUET = [
    Hostile(
        "map",
        table(prompt=["a"], correct=["y"], others=["n"], spans=pa.array([[("s", [0, 1])]], SPANS)),
        "is not an object",
        AS_PAIRS,
    ),
    Hostile(
        "long list inside",
        table(prompt=["a"], label=["y"], random_counterfactual=[{"choices": [0] * 5_000_000}]),
        "row of more than 4,194,304 bytes",
        AS_MIB,
    ),
]


def file(kind: str, hostile: Hostile, folder: Path) -> Path:
    path = folder / f"x.{kind}"
    hostile.write(path)
    return path
