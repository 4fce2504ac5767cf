"""The product on several machines, set up as docs/deploy.md says, on 127.0.0.1 over TCP.

The servers' SQL and configuration are the page's own, with other passwords and free ports.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.request import urlopen

import psutil
import psycopg
from mlflow_login import mlflow_at

from tracker.home.home import Home
from tracker.supervisor import binaries, passwords, ports, postgres_place, services, waiting
from tracker.supervisor.postgres import EmbeddedPostgres
from tracker.supervisor.process import Command, Process

PAGE = Path(__file__).parents[1] / "docs" / "deploy.md"
HASTE = {  # seconds: a lost worker is noticed while a test waits
    "HEADBOOK_LEASE_SECONDS": "6",
    "HEADBOOK_HEARTBEAT_SECONDS": "1",
    "HEADBOOK_REAP_SECONDS": "1",
}


def of_page(language: str) -> str:
    """The page's only block of code in that language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(block)


class Servers:
    """Postgres, Valkey and MLflow behind ports and passwords."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.ports = {name: ports.free() for name in ("postgres", "valkey", "mlflow")}
        self.secrets = {name: token_hex(8) for name in ("OWNER", "MLFLOW", "WORKER", "BROKER")}
        self.running: list[Process] = []

    def start(self) -> None:
        self.home.logs.mkdir(parents=True)
        self._postgres()
        self._valkey()
        self._mlflow()

    def stop(self) -> None:
        while self.running:
            self.running.pop().stop()
        postgres_place.remove(self.home)

    def database_url(self, role: str = "headbook_worker", secret: str = "WORKER") -> str:
        return self._database(role, self.secrets[secret])

    @property
    def broker_url(self) -> str:
        return f"redis://headbook:{self.secrets['BROKER']}@127.0.0.1:{self.ports['valkey']}/0"

    @property
    def mlflow_uri(self) -> str:
        return mlflow_at(self.ports["mlflow"])

    def _database(self, role: str, password: str, name: str = "headbook") -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.ports['postgres']}/{name}"

    def _postgres(self) -> None:
        command = EmbeddedPostgres(self.home, settings={"fsync": "off"}).prepare()
        where = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={self.ports['postgres']}")
        admin = self._database("postgres", passwords.of_home(self.home).postgres, "postgres")

        def ready() -> bool:
            try:
                psycopg.connect(admin).close()
            except psycopg.OperationalError:
                return False
            return True

        self._run(replace(command, argv=(*command.argv, *where)), ready)
        with psycopg.connect(admin, autocommit=True) as connection:
            for statement in self._filled(of_page("sql")).split(";")[:-1]:
                connection.execute(statement)

    def _valkey(self) -> None:
        folder = self.home.root / "valkey"
        folder.mkdir()
        asked = self._filled(of_page("conf"))
        asked = re.sub(r"^bind .*$", "bind 127.0.0.1", asked, flags=re.MULTILINE)
        asked = re.sub(r"^port .*$", f"port {self.ports['valkey']}", asked, flags=re.MULTILINE)
        (folder / "valkey.conf").write_text(f"{asked}\ndir {folder}\n")
        argv = (str(binaries.valkey()), str(folder / "valkey.conf"))
        command = Command(name="valkey", argv=argv, env={}, log=self.home.log("valkey"))
        self._run(command, lambda: _open(self.ports["valkey"]))

    def _mlflow(self) -> None:
        addresses = services.Addresses(
            database_url="",
            broker_url="",
            mlflow_backend=self._database("mlflow", self.secrets["MLFLOW"], "mlflow").replace(
                "postgresql://", "postgresql+psycopg://"
            ),
            mlflow_port=self.ports["mlflow"],
            mlflow_tracking_uri=self.mlflow_uri,
            app_port=0,
        )
        service = services.mlflow_server(self.home, addresses)
        self._run(service.command, service.ready)

    def _run(self, command: Command, ready: Callable[[], bool]) -> None:
        self.running.append(Process(command))
        waiting.until(ready, process=self.running[-1], seconds=180)

    def _filled(self, block: str) -> str:
        return re.sub(r"<([A-Z]+) PASSWORD>", lambda found: self.secrets[found[1]], block)


@dataclass
class Machine:
    """A host: its own folders and environment, nothing of this process's."""

    root: Path
    python: Path
    environment: dict[str, str]

    @classmethod
    def make(cls, root: Path, python: Path, **environment: str) -> "Machine":
        for name in ("work", "tmp", "person", "home"):
            (root / name).mkdir(parents=True)
        own = {
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "HOME": str(root / "person"),
            "TMPDIR": str(root / "tmp"),
            "HEADBOOK_HOME": str(root / "home"),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }
        return cls(root, python, own | HASTE | environment)

    def run(self, *words: str, given: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        """A command, however it ends; `given` is its stdin."""
        return subprocess.run(
            [str(self.python.parent / "headbook"), *words],
            cwd=self.root / "work",
            env=self.environment | changes,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def headbook(self, *words: str, given: str = "", **changes: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*words, given=given, **changes)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.headbook(*words, "--json"))

    def python_says(self, code: str) -> str:
        done = subprocess.run(
            (str(self.python), "-c", code),
            cwd=self.root / "work",
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self, *words: str, **changes: str) -> Process:
        """A command that stays, in a session of its own."""
        return Process(
            Command(
                name=words[0],
                argv=(str(self.python.parent / "headbook"), *words),
                cwd=self.root / "work",
                env=self.environment | changes,
                log=self.root / "logs" / f"{words[0]}.log",
                grace=60,
            )
        )


def virtual_environment(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel of its own, and this one's packages behind it; its python.

    The wheel goes in first: pip must not see what this environment has installed.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    behind = [each for each in sys.path if Path(each).name == "site-packages"]
    (site / "behind.pth").write_text("".join(f"{each}\n" for each in behind))
    return python


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def left_behind(folder: Path) -> list[str]:
    """Commands of the living processes that were given something below the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            given = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in given):
            found.append(" ".join(process.cmdline()))
    return found


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
