"""Files of completions in three formats, and what is read from them."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analyses.prompts import completion_data
from analyses.prompts.bounds import Bounds
from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.distributions import DistributionSpec


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def as_csv(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
            writer.writerow(texts)
    return path


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def data(path: Path | str, **fields: Any) -> completion_data.CompletionData:
    name = f"file:{path}" if isinstance(path, Path) else path
    spec = DistributionSpec(data=name, **({"layout": "pairs"} | fields))
    return completion_data.load(spec, roots=(), bounds=Bounds())


def items(path: Path | str, **fields: Any) -> tuple[CompletionItem, ...]:
    return data(path, **fields).items


def only(path: Path, **fields: Any) -> CompletionItem:
    (item,) = items(path, **fields)
    return item


def correct(completion: Completion) -> set[str]:
    return {completion.candidates[index] for index in completion.correct}
