"""What a part's tensor costs on its way through Postgres: memory and seconds.

    python tests/benchmarks/bench_part_tensors.py [--megabytes 64 512]

On a Postgres of its own. A process writes a tensor and another reads it; of each, the most memory
that it had beyond the tensor itself.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from faults import moves  # noqa: E402

from analyses.results import NamedTensor  # noqa: E402
from tracker.database import db, schema  # noqa: E402
from tracker.database.db import transaction  # noqa: E402
from tracker.domain import PartClaim, Run  # noqa: E402
from tracker.home.home import Home  # noqa: E402
from tracker.store import part_tensors, parts  # noqa: E402
from tracker.supervisor import postgres_place  # noqa: E402
from tracker.supervisor.postgres import EmbeddedPostgres  # noqa: E402
from tracker.supervisor.provision import OWNER  # noqa: E402
from tracker.working.part_tensors import JoinedTensors, PartTensorWriter  # noqa: E402

MB = 2**20


def most_memory() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(url: str, claim: PartClaim, size: int) -> dict[str, float]:
    sessions = db.connect(url)
    with transaction(sessions) as session:  # what a connection costs is not what a tensor costs
        parts.fence(session, claim, lease=600)
    tensor = NamedTensor(np.ones((1, size * MB // 4), np.float32), ("prompt", "place"))
    before, start = most_memory(), time.monotonic()
    writer = PartTensorWriter(sessions=sessions, claim=claim, lease=600, beat=lambda done: None)
    written = writer.write({"large": tensor})
    seconds = time.monotonic() - start
    with transaction(sessions) as session:
        part_tensors.insert_part_tensors(session, claim, written)
    return {"seconds": seconds, "more MB": most_memory() - before}


def read(url: str, run: Run, size: int) -> dict[str, float]:
    sessions = db.connect(url)
    joined = JoinedTensors(sessions, run, lambda done: None)
    before, start = most_memory(), time.monotonic()
    found = joined["large"].values
    taken = {"seconds": time.monotonic() - start, "more MB": most_memory() - before - size}
    assert (found == 1).all()
    return taken


def in_a_process(measure: Callable[..., dict[str, float]], *given: Any) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {name: round(value, 2) for name, value in pool.apply(measure, given).items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--megabytes", type=int, nargs="+", default=[64, 512])
    with tempfile.TemporaryDirectory(prefix="headbook-bench-") as folder:
        home = Home(Path(folder))
        postgres = EmbeddedPostgres(home)
        try:
            postgres.start()
            url = postgres.url("headbook", OWNER)
            schema.upgrade(url)
            sessions = db.connect(url)
            facts = moves.facts(sessions)
            for size in asked.parse_args().megabytes:
                run = moves.queue(sessions, of=facts, bounds=[(0, 1)], n_prompts=1)
                claim = moves.claim(sessions, run.id, lease=600)
                found = {"written": in_a_process(write, url, claim, size)}
                found["read"] = in_a_process(read, url, run, size)
                print(json.dumps({"tensor MB": size, **found}))
            db.close(sessions)
        finally:
            postgres.stop()
            postgres_place.remove(home)


if __name__ == "__main__":
    main()
