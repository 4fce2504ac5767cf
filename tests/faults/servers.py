"""The servers of a stack as child processes that tests kill, freeze and start again."""

import os
import shutil
import signal
from dataclasses import replace

import psutil
import redis
from mlflow_login import mlflow_at

from tracker.database import schema
from tracker.home.home import Home
from tracker.secrets.urls import with_psycopg
from tracker.supervisor import passwords, ports, sessions, waiting
from tracker.supervisor import services as stack_services
from tracker.supervisor.component import Service
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.process import Process
from tracker.supervisor.services import Addresses
from tracker.supervisor.valkey import EmbeddedValkey

SECONDS = 120.0  # to become ready


class Server:
    """A service's process: `kill` and `start` it, `freeze` and `thaw` it and all its children."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.process: Process | None = None

    def begin(self) -> None:
        """Start it, and do not wait."""
        self.process = Process(self.service.command)

    def start(self) -> None:
        self.begin()
        assert self.process is not None
        waiting.until(self.service.ready, process=self.process, seconds=SECONDS)

    @property
    def died(self) -> bool:
        """Whether it has ended by itself."""
        return self.process is not None and self.process.exit_code is not None

    def kill(self) -> None:
        """SIGKILL to it and to all that descend from it."""
        if self.process is not None:
            self.thaw()
            self.process.kill()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        """As the stack stops it."""
        if self.process is not None:
            self.thaw()
            self.process.stop()
            self.process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        for each in family(self.process):
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue


def family(process: Process) -> list[psutil.Process]:
    """The living processes that a child has become."""
    return sessions.members(process.pid, process.started)


class Postgres(Server):
    """An embedded cluster that does not wait for the disk: processes are killed, not machines."""

    def __init__(self, home: Home) -> None:
        self.embedded = EmbeddedPostgres(home, settings={"fsync": "off"})
        super().__init__(
            Service(command=self.embedded.prepare(), ready=lambda: self.embedded.ready())
        )
        self.socket = self.embedded.address

    def provide(self) -> None:
        """Databases, schema and roles, as the stack makes them."""
        self.embedded.provide()
        schema.upgrade(with_psycopg(self.embedded.url("headbook", "headbook_owner")))

    def begin(self) -> None:
        self.embedded.prepare()  # what a killed one has left must not keep it from starting
        super().begin()

    def crash(self) -> None:
        """An immediate stop: every backend is told to quit, nothing is written down."""
        assert self.process is not None
        self.thaw()
        os.kill(self.process.pid, signal.SIGQUIT)
        waiting.passes(lambda: self.process.exit_code is not None, seconds=10)
        self.kill()


class Valkey(Server):
    def __init__(self, home: Home) -> None:
        self.home = home
        self.embedded = EmbeddedValkey(home)
        super().__init__(Service(command=self.embedded.prepare(), ready=self.embedded.ready))
        self.socket = self.embedded.address

    def lose_everything(self) -> None:
        """Killed, and begun again without its data."""
        self.kill()
        shutil.rmtree(self.home.root / "valkey" / "appendonlydir", ignore_errors=True)
        self.begin()

    def client(self) -> redis.Redis:
        """A direct connection."""
        password = passwords.of_home(self.home).valkey
        return redis.Redis(unix_socket_path=self.socket, password=password, socket_timeout=5)


class Mlflow(Server):
    """As the stack starts it; it may be asked under the addresses of proxies too."""

    def __init__(self, home: Home, backend: str) -> None:
        self.port = ports.free()
        found = stack_services.mlflow_server(
            home,
            Addresses(
                database_url="",
                broker_url="",
                mlflow_backend=backend,
                mlflow_port=self.port,
                mlflow_tracking_uri=mlflow_at(self.port),
                app_port=0,
            ),
        )
        env = {**found.command.env, "MLFLOW_SERVER_ALLOWED_HOSTS": "127.0.0.1:*"}
        super().__init__(replace(found, command=replace(found.command, env=env)))
