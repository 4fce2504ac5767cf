"""What reading a large file of completions takes: seconds, and the most memory per row.

    python tests/benchmarks/bench_pairs.py [--rows 100000] [--padding 4000]

Each row has a prompt, a counterfactual, two candidates and spans, and a column that is not needed,
of so many characters. The file is read in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from analyses.prompts import completion_data
from analyses.prompts.bounds import Bounds
from analyses.prompts.spec import DistributionSpec

KB = 2**10


class Taken(NamedTuple):
    """What reading a file took; `held` is by how many bytes the process grew at the most."""

    items: int
    seconds: float
    held: int


def write(path: Path, rows: int, padding: int) -> None:
    notes = "x" * padding
    with path.open("w") as file:
        for n in range(rows):
            row = {
                "prompt": f"When A{n} and B{n} went to the store, B{n} gave a drink to",
                "correct": f"A{n}",
                "others": [f"B{n}"],
                "counterfactual": f"When A{n} and B{n} went to the store, A{n} gave a drink to",
                "counterfactual_correct": f"B{n}",
                "spans": {"io": [5, 6 + len(str(n))]},
                "counterfactual_spans": {"io": [11 + len(str(n)), 12 + 2 * len(str(n))]},
                "notes": notes,
            }
            file.write(json.dumps(row) + "\n")


def read(path: Path) -> Taken:
    """Read the file in this process."""
    spec = DistributionSpec(data=f"file:{path}", layout="pairs")
    before, start = _peak(), time.perf_counter()
    data = completion_data.load(spec, roots=(), bounds=Bounds())
    seconds = time.perf_counter() - start
    return Taken(len(data.items), round(seconds, 2), _peak() - before)


def measured(path: Path) -> Taken:
    """Read the file in a process of its own."""
    command = [sys.executable, __file__, "--read", str(path)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return Taken(*json.loads(said))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--padding", type=int, default=4_000)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    if asked.read:
        print(json.dumps(read(asked.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        write(path, asked.rows, asked.padding)
        size, taken = path.stat().st_size, measured(path)
    print(json.dumps({"bytes": size, **taken._asdict(), "held_per_row": taken.held // taken.items}))


if __name__ == "__main__":
    main()
