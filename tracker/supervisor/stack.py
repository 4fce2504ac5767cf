"""The supervisor itself: starts the components in order, keeps them running, stops them."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

import psutil

from tracker.errors import TrackerError
from tracker.home.home import Home, StackState
from tracker.secrets import logins
from tracker.secrets.urls import with_psycopg
from tracker.supervisor import folders, passwords, ports, reachability, services
from tracker.supervisor.component import Component, Service
from tracker.supervisor.errors import HomeNotWritable, Interrupted, SchemaFailed
from tracker.supervisor.guard import Guard
from tracker.supervisor.options import StackOptions
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.priorities import Priorities
from tracker.supervisor.processes import Notice
from tracker.supervisor.provision import OWNER
from tracker.supervisor.services import Addresses
from tracker.supervisor.valkey import EmbeddedValkey

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds
SERVERS = ("postgres", "valkey")
SQLITE = "sqlite:///mlflow.db"

MakeServices = Callable[[Home, Addresses], Sequence[Service]]


class Stack:
    """All components of a home. The caller holds the home's lock."""

    def __init__(
        self,
        home: Home,
        options: StackOptions,
        *,
        lock: int,
        make_services: MakeServices = services.all_of,
    ) -> None:
        self.home = home
        self.options = options
        self._make_services = make_services
        self._components: list[Component] = []
        self._tidy: list[Callable[[], None]] = []
        self._stops = 0  # signals received
        self._notice = Notice(home)
        self._state = "starting"
        self._guard = Guard(lock)
        self._priorities = Priorities()

    def run(self, on_ready: Callable[[StackState], None]) -> None:
        """Start, report that all is ready, watch until a signal arrives, stop."""
        with _signals(self._on_signal):
            try:
                state = self._start()
                self.home.write_state(state)
                self._state = "running"
                self._watch()
                on_ready(state)
                while not self._stops:
                    self._watch()
            finally:
                self._stop()

    def _start(self) -> StackState:
        self.home.state_file.unlink(missing_ok=True)
        try:
            folders.private(self.home.logs)
            folders.private(self.home.artifacts)
            chosen = ports.choose(self.home, self.options)
        except OSError as error:
            raise HomeNotWritable(self.home.root, error) from None
        reachability.check(self.options)
        postgres, valkey = self._servers()
        self._upgrade(postgres)
        secrets = passwords.of_home(self.home)
        programs = logins.Login(user="headbook", password=secrets.tracking)
        addresses = Addresses(
            database_url=postgres.url("headbook", "headbook_worker")
            if postgres
            else with_psycopg(self.options.database_url or ""),
            broker_url=valkey.url() if valkey else self.options.broker_url or "",
            mlflow_backend=self._mlflow_backend(postgres),
            mlflow_port=chosen.mlflow,
            mlflow_tracking_uri=self.options.mlflow_tracking_uri
            or programs.within(f"http://127.0.0.1:{chosen.mlflow}"),
            app_port=chosen.app,
            token=self.options.app_token or secrets.token,
            app_asks=self.options.app_asks,
            device=self.options.device,
        )
        self._bring_up(self._make_services(self.home, addresses))
        return StackState(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            database_url=addresses.database_url,
            broker_url=addresses.broker_url,
            mlflow_tracking_uri=addresses.mlflow_tracking_uri,
            app_url=addresses.app_url,
            app_token=addresses.token if addresses.app_asks else None,
            mlflow_token=addresses.token if addresses.mlflow_backend else None,
            owner_url=postgres.url("headbook", OWNER) if postgres else addresses.database_url,
            reader_url=postgres.url("headbook", "headbook_reader") if postgres else None,
        )

    def _servers(self) -> tuple[EmbeddedPostgres | None, EmbeddedValkey | None]:
        """Start the servers for which no URL is set."""
        postgres = valkey = None
        wanted: list[Service] = []
        if not self.options.database_url:
            postgres = EmbeddedPostgres(self.home, run_as=self.options.postgres_user)
            wanted.append(_service(postgres))
        if not self.options.broker_url:
            valkey = EmbeddedValkey(self.home)
            wanted.append(replace(_service(valkey), mend=valkey.set_aside))
        self._tidy = [server.tidy for server in (postgres, valkey) if server]
        self._bring_up(wanted)
        return postgres, valkey

    def _upgrade(self, postgres: EmbeddedPostgres | None) -> None:
        from tracker.database import (
            schema,  # imports SQLAlchemy and Alembic, which `down` and `status` do not need
        )

        if postgres:
            postgres.provide()
        url = postgres.url("headbook", OWNER) if postgres else self.options.database_url or ""
        try:
            schema.upgrade(with_psycopg(url))
        except TrackerError:
            raise
        except Exception as error:  # anything that Alembic or a migration raises
            raise SchemaFailed(error) from error

    def _mlflow_backend(self, postgres: EmbeddedPostgres | None) -> str | None:
        if self.options.mlflow_tracking_uri:
            return None
        return (
            postgres.url("mlflow", "mlflow")
            if postgres  # MLflow's tables never go into a database set by a person
            else SQLITE  # relative to the home, the working directory: a path would need quoting
        )

    def _bring_up(self, wanted: Iterable[Service]) -> None:
        """Start the services in parallel and wait until all are ready."""
        new = [Component(service, self._guard) for service in wanted]
        for component in new:
            self._components.append(component)
            component.start()
        while not all(component.ready for component in new):
            self._watch()
            if self._stops:
                raise Interrupted

    def _watch(self) -> None:
        for component in self._components:
            component.tend()
            if component.name == "postgres" and component.process:
                process = component.process
                self._priorities.tend(process.pid, owner=process.command.owner)
        self._guard.tend()
        self._notice.write(self._state, self._components)
        time.sleep(TICK)

    def _stop(self) -> None:
        """Stop in reverse order: clients before servers."""
        self.home.state_file.unlink(missing_ok=True)
        self._state = "stopping"
        self._notice.write(self._state, self._components)
        asked = max(self._stops, 1)
        for group in _stop_order(self._components):
            for component in group:
                component.ask_to_stop()
            for component in group:
                # A second Ctrl-C kills all but the data servers, which stop quickly anyway.
                patient = component.name in SERVERS
                component.finish(_never if patient else lambda: self._stops > asked)
        self._guard.dismiss()
        for server in self._tidy:
            server()
        self._notice.remove()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stops += 1


def _stop_order(components: Sequence[Component]) -> Iterator[list[Component]]:
    """All clients of the servers at once, then the servers, last started first."""
    yield [c for c in reversed(components) if c.name not in (*SERVERS, "mlflow")]
    for component in reversed(components):
        if component.name in (*SERVERS, "mlflow"):
            yield [component]


def _never() -> bool:
    return False


def _service(server: EmbeddedPostgres | EmbeddedValkey) -> Service:
    command = server.prepare()
    return Service(command=command, ready=server.ready, address=server.address)


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN  # `nohup`
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
