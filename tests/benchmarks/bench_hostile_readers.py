"""How much longer a run takes while six hostile readers work.

    python tests/benchmarks/bench_hostile_readers.py [--pairs 3] [--prompts 256] [--readers 6]

On a stack of its own, as `headbook up` starts it. Runs alone and runs beside readers take turns;
each reader loops over the costliest statements that are let through, with all limits lifted that a
reader can lift.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psycopg  # noqa: E402

from tracker.home.home import Home  # noqa: E402
from tracker.supervisor import postgres_place  # noqa: E402

HEADBOOK = Path(sys.executable).with_name("headbook")
LIFTED = (
    "SET statement_timeout = 0",
    "SET transaction_timeout = 0",
    "SET lock_timeout = 0",
    "SET work_mem = '16GB'",
    "SET max_parallel_workers_per_gather = 16",
)
COSTLIEST = (
    "SELECT count(*) FROM pg_proc a, pg_proc b, pg_proc c",
    "SELECT count(*) FROM results.head_scores a, results.head_scores b, generate_series(1, 100000)",
    "SELECT g FROM generate_series(1, 100000000) AS g ORDER BY -g",
    "SELECT jsonb_agg(repeat('x', 1000) || g) FROM generate_series(1, 5000000) AS g",
    "SELECT count(md5(repeat(g::text, 10000))) FROM generate_series(1, 100000000) AS g",
    "SET work_mem = '64kB'; SELECT g FROM generate_series(1, 100000000) AS g ORDER BY -g",
)


class Readers:
    """Sessions that loop until they are told to end."""

    def __init__(self, url: str, how_many: int) -> None:
        self.url, self.ended = url, threading.Event()
        self.refused: Counter[str] = Counter()
        self.threads = [
            threading.Thread(target=self._loop, args=(number,)) for number in range(how_many)
        ]
        self.connections: dict[int, psycopg.Connection[Any]] = {}

    def _loop(self, number: int) -> None:
        statements = islice(cycle(COSTLIEST), number, None)
        while not self.ended.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    self.connections[number] = connection
                    for lifted in LIFTED:
                        connection.execute(lifted)
                    while not self.ended.is_set():
                        try:
                            connection.execute(next(statements))
                        except psycopg.errors.DatabaseError as error:
                            self.refused[error.sqlstate or "lost"] += 1
                            if connection.closed:
                                break
            except psycopg.Error as error:
                self.refused[f"login: {str(error)[-90:]}"] += 1
                time.sleep(0.1)

    def __enter__(self) -> "Readers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        while any(thread.is_alive() for thread in self.threads):
            for connection in list(self.connections.values()):
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=2)
            time.sleep(0.2)


@contextmanager
def stack(folder: Path) -> Iterator[dict[str, str]]:
    environment = os.environ | {"HEADBOOK_HOME": str(folder)}
    for name in ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    subprocess.run([HEADBOOK, "up", "--detach"], env=environment, check=True, stdout=sys.stderr)
    try:
        yield environment
    finally:
        subprocess.run([HEADBOOK, "down"], env=environment, check=True, stdout=sys.stderr)
        postgres_place.remove(Home(folder))


def seconds_of_a_run(environment: dict[str, str], prompts: int, database: str) -> float:
    """From the claim of its first part to its end, as the database saw it."""
    subprocess.run(
        [
            *(HEADBOOK, "submit", "attribution", "--model", "mcq-small", "--distribution", "facts"),
            *("--prompts", str(prompts), "--force", "--wait"),
        ],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM finished_at - started_at)::float, attempt"
            " FROM headbook.run ORDER BY created_at DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    if row[1] != 1:
        raise SystemExit(f"the run needed {row[1]} attempts")
    return float(row[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--readers", type=int, default=6)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headbook-readers-") as folder:
        home = Home(Path(folder) / "home")
        with stack(home.root) as environment:
            state = home.running()
            assert state is not None
            assert state.reader_url is not None
            reader, owner = (u.replace("+psycopg", "") for u in (state.reader_url, state.owner_url))
            subprocess.run([HEADBOOK, "models", "add", "mcq-small"], env=environment, check=True)
            seconds_of_a_run(environment, asked.prompts, owner)  # loads the model
            alone, beside = [], []
            refused: Counter[str] = Counter()
            for _ in range(asked.pairs):
                alone.append(seconds_of_a_run(environment, asked.prompts, owner))
                with Readers(reader, asked.readers) as readers:
                    time.sleep(2)  # they are at it
                    beside.append(seconds_of_a_run(environment, asked.prompts, owner))
                refused += readers.refused
    print(json.dumps({"alone": alone, "beside": beside, "refused": refused}))
    print(f"ratio {median(beside) / median(alone):.2f}")


if __name__ == "__main__":
    main()
