"""A whole stack whose every connection a test can break and whose every process it can end.

Postgres, Valkey and MLflow on one temporary home; workers and dispatchers as `headbook` starts
them, each behind proxies of its own; and a person, who queues runs without a proxy in between.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from mlflow_login import mlflow_at
from sqlalchemy import text
from tiny_llama import save_tiny_llama

from analyses.prompts.distributions import DistributionSpec
from tracker import results
from tracker.database import db
from tracker.database.db import transaction
from tracker.domain import Run, RunRequest
from tracker.home.home import Home
from tracker.publishing.publication import mlflow_client
from tracker.queueing import broker, models, submission
from tracker.results import RunLine
from tracker.store import runs as run_store
from tracker.supervisor import postgres_place
from tracker.supervisor.process import Command

from . import audit, checker
from .actor import Actor, Lines
from .checker import Violation
from .proxy import Network, Proxy, Target
from .servers import Mlflow, Postgres, Server, Valkey

ROOT = Path(__file__).parents[2]
PLUGIN = Path(__file__).parent / "plugin"
CLI = (sys.executable, "-m", "tracker.cli")
LEASE = 3.0  # seconds
TIMES = {
    "HEADBOOK_LEASE_SECONDS": str(LEASE),
    "HEADBOOK_HEARTBEAT_SECONDS": "0.5",
    "HEADBOOK_REAP_SECONDS": "0.5",
    "HEADBOOK_DISPATCH_SECONDS": "0.2",
}
TINY, REAL = "tiny", "mcq-small"
PATIENCE = 60.0  # seconds

Point = dict[str, Any]  # what plugin/sitecustomize.py replaces, and by what


class World:
    """One stack. `sessions` is a connection past all proxies, of a person."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headbook-faults-"))
        self.folder.chmod(0o711)
        self.home = Home(self.folder / "home")
        self.home.root.mkdir(mode=0o711)
        self.home.logs.mkdir(mode=0o700)
        self.home.artifacts.mkdir(mode=0o700)
        self.network = Network()
        self.actors: list[Actor] = []
        self._started = 0
        self.postgres, self.valkey = Postgres(self.home), Valkey(self.home)
        try:
            self.postgres.start()
            self.postgres.provide()
            self.valkey.start()
            self.mlflow = Mlflow(self.home, self.postgres.embedded.url("mlflow", "mlflow"))
            self.mlflow.start()
            self.sessions = db.connect(self.postgres.embedded.url("headbook"))
            self._add_models()
            audit.install(self.sessions)
        except BaseException:
            self.close()
            raise

    # What it is made of.

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.postgres, self.valkey, self.mlflow

    def worker(self, *, points: Sequence[Point] = (), **environment: str) -> Actor:
        """A worker process; `points` are replaced functions, as plugin/sitecustomize.py says."""
        return self._actor("worker", points, environment)

    def dispatcher(self, *, points: Sequence[Point] = (), **environment: str) -> Actor:
        """A dispatcher and reaper."""
        return self._actor("dispatch", points, environment)

    def _actor(self, what: str, points: Sequence[Point], environment: dict[str, str]) -> Actor:
        self._started += 1
        lines = Lines(*(Proxy(self.network, each) for each in self._targets()))
        name = f"{what}-{self._started}"
        command = Command(
            name=name,
            argv=(*CLI, what),
            env=self._environment(name, lines, points) | environment,
            log=self.home.log(name),
            cwd=ROOT,
        )
        actor = Actor(command, lines)
        self.actors.append(actor)
        return actor

    def _targets(self) -> tuple[Target, Target, Target]:
        mlflow = "127.0.0.1", self.mlflow.port
        return Path(self.postgres.socket), Path(self.valkey.socket), mlflow

    def _environment(self, name: str, lines: Lines, points: Sequence[Point]) -> dict[str, str]:
        broker_user, _, _ = self.valkey.embedded.url().partition("@")
        found = {
            **os.environ,
            **TIMES,
            "HEADBOOK_HOME": str(self.home.root),
            "DATABASE_URL": self.database_url(lines.database.port, name=name),
            "CELERY_BROKER_URL": broker_user.replace("redis+socket", "redis")
            + f"@127.0.0.1:{lines.broker.port}/0",
            "MLFLOW_TRACKING_URI": mlflow_at(lines.tracking.port),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
            "PYTHONPATH": os.pathsep.join((str(PLUGIN), str(ROOT))),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        return found | ({"FAULT_POINTS": json.dumps(list(points))} if points else {})

    def database_url(self, port: int, *, name: str, role: str = "headbook_worker") -> str:
        """The database behind a proxy; the audit tells writers apart by their names."""
        user, _, _ = self.postgres.embedded.url("headbook", role).partition("@")
        return f"{user}@127.0.0.1:{port}/headbook?sslmode=disable&application_name={name}"

    def _add_models(self) -> None:
        save_tiny_llama(self.folder / TINY, seed=0)
        for ref, name in ((str(self.folder / TINY), TINY), (REAL, REAL)):
            models.add_model(
                ref, name=name, dtype="float32", home=self.home, roots=(), sessions=self.sessions
            )

    # What a person does.

    def submit(
        self,
        analysis: str = "steps",
        *,
        prompts: int = 8,
        seed: int = 0,
        params: Mapping[str, Any] | None = None,
        prompts_per_part: int | None = None,
        nonce: str | None = None,
        **more: Any,
    ) -> Run:
        """Queue a run of the small model over some facts, in two parts."""
        asked = {
            "analysis": analysis,
            "model": TINY,
            "recipe": DistributionSpec(size=prompts, seed=seed),
            "parameters": {"batch_size": 2} if params is None else params,
            "force": True,
        }
        return submission.submit(
            RunRequest(**asked | more),
            created_by="ada",
            sessions=self.sessions,
            home=self.home,
            prompts_per_part=prompts_per_part or prompts // 2,
            nonce=nonce,
        ).run

    def cancel(self, run_id: UUID) -> Run:
        with transaction(self.sessions) as session:
            return run_store.cancel(session, run_id)

    def ring(self, run_id: UUID, times: int = 1) -> None:
        """Ring as a dispatcher does, again and again."""
        with self.bell() as app:
            for _ in range(times):
                broker.wake(app, run_id)

    @contextmanager
    def bell(self) -> Iterator[Any]:
        """A Celery app on the broker, past all proxies."""
        app = broker.celery_app(self.valkey.embedded.url())
        try:
            yield app
        finally:
            app.close()

    # What is to be seen.

    def line(self, run_id: UUID) -> RunLine:
        with transaction(self.sessions) as session:
            (line,) = results.runs(session, ids=[run_id])
        return line

    def when(
        self, run_id: UUID, passes: Callable[[RunLine], bool], *, seconds: float = PATIENCE
    ) -> RunLine:
        """The run as soon as it is so."""
        end = time.monotonic() + seconds
        while not passes(line := self.line(run_id)):
            assert time.monotonic() < end, f"not so within {seconds} s: {line}\n{self.tails()}"
            time.sleep(0.05)
        return line

    def ended(self, run_ids: Iterable[UUID], *, seconds: float = PATIENCE) -> list[RunLine]:
        """All these runs, once they have ended."""
        end = time.monotonic() + seconds
        return [
            self.when(each, lambda line: line.ended, seconds=max(0.1, end - time.monotonic()))
            for each in run_ids
        ]

    def numbers(self, run_id: UUID) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Every score of a run, to the bit."""
        query = text(
            "SELECT component_id, metric, site, condition, x, n, skipped, mean, sem, ci_low,"
            " ci_high, values FROM headbook.score WHERE run_id = :run"
        )
        with transaction(self.sessions) as session:
            rows = session.execute(query, {"run": run_id}).all()
        return {tuple(row[:5]): tuple(row[5:]) for row in rows}

    def broken(self, **expected: Any) -> list[Violation]:
        """What of the invariants does not hold; MLflow is looked at as well."""
        client = mlflow_client(mlflow_at(self.mlflow.port))
        return checker.broken(self.sessions, mlflow=client, **expected)

    def tails(self, lines: int = 15) -> str:
        """The end of what each process said."""
        logs = sorted(self.home.logs.glob("*.log"))
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
            for log in logs
        )

    # How it ends.

    def heal(self) -> None:
        """Lift every fault: all servers run, every line passes, no process is frozen."""
        for server in self.servers:
            if server.process is None or server.died:
                server.restart()
            else:
                server.thaw()
        for actor in self.actors:
            actor.thaw()
            actor.lines.heal()

    def clear(self) -> None:
        """End all workers and dispatchers, forget all runs and rings; servers and models stay."""
        self.end_actors()
        self.heal()
        with transaction(self.sessions) as session:
            found = text(
                "SELECT string_agg(format('headbook.%I', tablename), ', ') FROM pg_tables"
                " WHERE schemaname = 'headbook' AND tablename NOT IN"
                " ('alembic_version', 'view_file', 'model', 'component')"
            )
            session.execute(text(f"TRUNCATE {session.scalar(found)} RESTART IDENTITY"))
        audit.install(self.sessions)
        self.valkey.client().flushall()
        for log in self.home.logs.glob("*-[0-9]*.log"):
            log.unlink()

    def end_actors(self) -> None:
        for actor in self.actors:
            actor.end()
        self.actors.clear()

    def close(self) -> None:
        """End every process and remove every file."""
        self.end_actors()
        if hasattr(self, "sessions"):
            db.close(self.sessions)
        if hasattr(self, "mlflow"):
            self.mlflow.kill()
        self.valkey.stop()
        self.postgres.stop()
        self.valkey.embedded.tidy()
        self.postgres.embedded.tidy()
        self.network.close()
        postgres_place.remove(self.home)
        shutil.rmtree(self.folder)
