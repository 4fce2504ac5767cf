"""Files of pairs in every layout, whose candidates are one byte each."""

import csv
import json
from pathlib import Path
from typing import Any

LAYOUTS = ("pairs", "transformer_lens", "mib")
NAMES = [("Ann", "Bob"), ("Bob", "Cid"), ("Cid", "Dan"), ("Dan", "Eve")]


def texts(one: str, other: str) -> tuple[str, str]:
    """A prompt that `one` continues, and its counterfactual, which `other` continues."""
    return (
        f"{one} and {other} met; {other} saw (",
        f"{one} and {other} met; {one} saw (",
    )


def write(folder: Path, layout: str) -> Path:
    """A file of four pairs."""
    match layout:
        case "pairs":
            return _jsonl(folder / "pairs.jsonl", [_pair(*names) for names in NAMES])
        case "mib":
            return _jsonl(folder / "mib.jsonl", [_mib(*names) for names in NAMES])
    path = folder / "clean.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["clean", "corrupted", "answer", "wrong_answer", "corrupted_answer"])
        rows.writerows([*texts(a, b), a[0], b[0], b[0]] for a, b in NAMES)
    return path


def _pair(one: str, other: str) -> dict[str, Any]:
    prompt, counterfactual = texts(one, other)
    return {
        "prompt": prompt,
        "correct": one[0],
        "others": [other[0]],
        "counterfactual": counterfactual,
        "counterfactual_correct": other[0],
        "spans": {"io": [0, 3], "s1": [8, 11], "s2": [17, 20]},
        "counterfactual_spans": {"io": [8, 11], "s1": [0, 3], "s2": [17, 20]},
        "order": "io first",
    }


def _mib(one: str, other: str) -> dict[str, Any]:
    prompt, counterfactual = texts(one, other)
    choices = [one[0], other[0]]
    return {
        "prompt": prompt,
        "choices": choices,
        "answerKey": 0,
        "s2_io_flip_counterfactual": {
            "prompt": counterfactual,
            "choices": choices,
            "answerKey": 1,
        },
    }


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
