"""The embedded Postgres: bundled binaries on a private socket, passwords throughout."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from tracker.database.login_codes import greeting
from tracker.database.sqlstates import WRONG_PASSWORD
from tracker.home import own_files
from tracker.home.home import Home
from tracker.home.ownership import NotOurs
from tracker.supervisor import (
    folders,
    passwords,
    postgres_place,
    postgres_user,
    provision,
    sessions,
    waiting,
)
from tracker.supervisor.errors import DataInUse, PasswordsLost, StartFailed
from tracker.supervisor.passwords import Passwords
from tracker.supervisor.postgres_place import Place
from tracker.supervisor.process import Command, Process, as_user

PORT = 5432  # part of the socket's name; no TCP port is opened
SOCKET = f".s.PGSQL.{PORT}"
# Bytes of a reader's session, beyond which its statement fails; `Priorities` lifts it for ours.
ADDRESS_SPACE = 512 * 2**20
SETTINGS = {
    "listen_addresses": "",
    # Connections left to workers, owner and MLflow however many readers there are; superuser: 3.
    "max_connections": "180",
    "reserved_connections": "100",
    "authentication_timeout": "10s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_parameter_max_length_on_error": "0",
    # Shared by all, and any role could fill them: the lock table and the notification queue.
    "max_locks_per_transaction": "96",
    "max_notify_queue_pages": "64",
    # Shared memory of parallel workers would escape the limit; these tables are small.
    "max_parallel_workers": "0",
    "jit": "off",
    # So that the locks of a disconnected client are released.
    "client_connection_check_interval": "5s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}


class EmbeddedPostgres:
    """The cluster of a home. Usable on its own: `start`, `url`, `stop`."""

    def __init__(
        self,
        home: Home,
        *,
        run_as: str | None = None,  # user, when started by root
        settings: Mapping[str, str] = SETTINGS,
    ) -> None:
        self.home = home
        self.log = home.log("postgres")
        self._run_as = run_as
        self._settings = SETTINGS | dict(settings)
        self._process: Process | None = None

    def start(self) -> str:
        """Start the server and wait until it is ready; returns the superuser's URL."""
        command = self.prepare()
        self._process = Process(command)
        try:
            waiting.until(self.ready, process=self._process, seconds=60)
            self.provide()
        except BaseException:
            self.stop()
            raise
        return self.url("postgres", "postgres")

    def stop(self) -> None:
        if self._process:
            self._process.stop()
            self._process = None
            self.tidy()

    def prepare(self) -> Command:
        """Create the cluster if there is none; returns the command that runs it."""
        self._passwords: Passwords = passwords.of_home(self.home)
        _wait_for_previous(postgres_place.data_of(self.home))
        self._place: Place = postgres_place.of_home(self.home, run_as=self._run_as)
        binaries = self._place.binaries()
        if not own_files.exists(self._place.data / "PG_VERSION"):
            self._make_cluster(binaries)
        self._sockets = folders.for_socket(
            self._place.folder / "run", SOCKET, owner=self._place.owner
        )
        self._clear_sockets()
        settings = self._settings | {"unix_socket_permissions": "0700"}
        return Command(
            name="postgres",
            argv=(
                *(str(binaries / "postgres"), "-D", str(self._place.data)),
                *("-k", str(self._sockets), "-p", str(PORT)),
                *(word for pair in settings.items() for word in ("-c", "=".join(pair))),
            ),
            env=_environment(),
            cwd=Path("/"),
            log=self.log,
            owner=self._place.owner,
            stop_signals=(signal.SIGINT, signal.SIGQUIT),  # "fast", then "immediate"
            grace=20,
            address_space=ADDRESS_SPACE,
        )

    def ready(self) -> bool:
        """Whether it accepts connections; raises `PasswordsLost` if not with our password."""
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            answer = greeting(make_conninfo(**self._login("postgres")))
            if answer.sqlstate == WRONG_PASSWORD:
                raise PasswordsLost(self.home.secrets_file, self._place.data) from None
            return False
        return True

    def provide(self) -> None:
        """Create roles and databases, and revoke what PUBLIC may do in them."""
        provision.provide(self._connect, lambda login: str(getattr(self._passwords, login)))

    def url(self, database: str = "headbook", role: str = "postgres") -> str:
        """A SQLAlchemy URL, password included."""
        password = getattr(self._passwords, role)
        where = urlencode({"host": self._sockets, "port": PORT}, safe="/")
        return f"postgresql+psycopg://{role}:{password}@/{database}?{where}"

    def tidy(self) -> None:
        """Remove the socket's folder if it is a temporary one."""
        folders.tidy(self._sockets)

    @property
    def address(self) -> str:
        """The socket, without a password."""
        return str(self._sockets / SOCKET)

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(**self._login(database)), autocommit=True)

    def _login(self, database: str) -> dict[str, Any]:
        return {
            "host": str(self._sockets),
            "port": PORT,
            "user": "postgres",
            "password": self._passwords.postgres,
            "dbname": database,
            "connect_timeout": 5,
            "client_encoding": "utf8",
            "options": "-c event_triggers=off",  # a bug in one must not lock us out
        }

    def _make_cluster(self, binaries: Path) -> None:
        """Run initdb in a temporary folder, renamed when complete."""
        draft = self._place.folder / f"data.{uuid4().hex[:8]}"
        owner = self._place.owner and postgres_user.who_makes(self._place.owner)
        for left in self._place.folder.glob("data.*"):
            shutil.rmtree(left, ignore_errors=True)
        folders.private(draft, owner=owner)
        secret = self._place.folder / "initdb.password"
        secret.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                f.write(self._passwords.postgres)
                if owner:
                    os.fchown(f.fileno(), owner.uid, owner.gid)
            made = subprocess.run(
                (
                    *(str(binaries / "initdb"), "-D", str(draft), "-U", "postgres"),
                    *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"),
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ),
                **as_user(owner),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                start_new_session=True,
            )
        finally:
            secret.unlink(missing_ok=True)
        if made.returncode:
            reason = made.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise StartFailed("postgres", f"initdb failed: {reason[0]}", self.log)
        if self._place.owner:
            postgres_user.hand_over(draft, self._place.owner)
        draft.rename(self._place.data)

    def _clear_sockets(self) -> None:
        """Remove the sockets of a killed server: the pid in its lock file may be reused by now."""
        for name in (SOCKET, f"{SOCKET}.lock"):
            (self._sockets / name).unlink(missing_ok=True)


def _wait_for_previous(data: Path) -> None:
    """Wait for the server of a killed supervisor to exit; its pid is never signalled."""
    pid = _postmaster(data)
    if pid and not waiting.passes(lambda: _postmaster(data) is None, seconds=30):
        raise DataInUse(data, pid)
    _replace_stale_pid(data)


def _postmaster(data: Path) -> int | None:
    """The pid of the Postgres that runs on `data`; None for a stale pid file."""
    try:
        with os.fdopen(_pid_file(data, os.O_RDONLY)) as file:
            pid = int(file.readline())
        process = psutil.Process(pid)
        ours = process.name() == "postgres" and str(data) in process.cmdline()
        return pid if ours and sessions.alive(process) else None
    except psutil.AccessDenied:
        return pid
    except (OSError, ValueError, NotOurs, psutil.NoSuchProcess):
        return None


def _replace_stale_pid(data: Path) -> None:
    """Replace the pid in a stale pid file by our own.

    Postgres refuses to start while the named process is alive, whatever it is, except its own
    parent. The rest of the file stays: Postgres uses it to check for remaining backends. A file
    without a pid (empty, corrupt, a link) is removed: Postgres would refuse that too.
    """
    try:
        with os.fdopen(_pid_file(data, os.O_RDWR), "r+") as file:
            pid, *rest = file.read().splitlines()
            int(pid)
            file.seek(0)
            file.truncate()
            file.write("\n".join((str(os.getpid()), *rest, "")))
    except FileNotFoundError:
        return
    except (ValueError, NotOurs):
        (data / "postmaster.pid").unlink()


def _pid_file(data: Path, flags: int) -> int:
    """Opened without following links: the owner of the data could plant one for root."""
    owners = {data.lstat().st_uid, os.geteuid()}
    return own_files.opened(data / "postmaster.pid", flags, of=owners)


def _environment() -> dict[str, str]:
    """Nothing of the caller's: root's environment is not for an ordinary user's process."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
