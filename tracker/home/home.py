"""The folder of an embedded stack, with the state file in which its supervisor stores addresses."""

import json
import os
import stat
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field, TypeAdapter

from tracker.home import own_files, ownership
from tracker.secrets.redaction import learn, learn_secret

# Entries of a home that are ours; anything else in it is left alone.
_FILES = (
    *("state.json", "lock.json", "secrets.json", "processes.json"),
    *("ports.json", "postgres.json", "mlflow.db"),
)
_FOLDERS = ("logs", "artifacts", "models", "spool", "valkey", "postgres")

Pid = Annotated[int, Field(gt=0, lt=2**31)]


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The addresses of a running stack. The URLs contain passwords: the file has mode 0600."""

    pid: Pid
    started: float  # the supervisor's creation time: a pid alone may have been reused
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    mlflow_tracking_uri: str = field(repr=False)
    app_url: str
    # May change the schema; DATABASE_URL if it was set.
    owner_url: str = field(repr=False)
    # May only read `results`; None if DATABASE_URL was set.
    reader_url: str | None = field(default=None, repr=False)
    # In sign-in links; None if the app asks for none, or MLflow is external.
    app_token: str | None = field(default=None, repr=False)
    mlflow_token: str | None = field(default=None, repr=False)

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's: the pid was reused
            return False


@dataclass(frozen=True)
class Home:
    """Paths in a home folder, which only this user can write to, or which does not exist yet.

    This is checked on construction, before anything is read, so that a home planted by another
    user is never used. Raises `BelongsToAnother`, `NotOurs`, `NotReadable`.
    """

    root: Path

    def __post_init__(self) -> None:
        ownership.check_own(self.root)
        if self.root.exists():
            reachable = bool(self.root.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))
            for name in (*_FILES, *_FOLDERS):
                own_files.check_entry(self.root / name, reachable=reachable)

    def make(self) -> None:
        """Create the folder, and revoke others' access to our files in it.

        Raises `OSError`, and as the constructor does if another user creates it first.
        """
        # Postgres' user may need to traverse a home created by root.
        own_files.make_folders(self.root, mode=0o711 if os.geteuid() == 0 else 0o700)
        Home(self.root)
        for name in _FILES:
            file = self.root / name
            if file.is_file() and not file.is_symlink():
                file.chmod(0o600)

    @property
    def state_file(self) -> Path:
        return self.root / "state.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor while it runs; contains its pid."""
        return self.root / "lock.json"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def processes_file(self) -> Path:
        """The supervisor's components, for `status`."""
        return self.root / "processes.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "artifacts"

    @property
    def models(self) -> Path:
        """Models converted from GGUF, one folder each."""
        return self.root / "models"

    @property
    def spool(self) -> Path:
        """Copies of tensor files until MLflow is known to have them."""
        return self.root / "spool"

    def running(self) -> StackState | None:
        """The stack running on this home, or None. Its passwords are redacted from now on.

        Raises `NotReadable` and `NotOurs`.
        """
        try:
            state = _states().validate_json(own_files.read_text(self.state_file) or "{}")
        except ValueError:
            return None
        learn(state.database_url, state.broker_url, state.mlflow_tracking_uri)
        learn(state.owner_url, state.reader_url)
        learn_secret(state.app_token)
        learn_secret(state.mlflow_token)
        return state if state.alive() else None

    def write_state(self, state: StackState) -> None:
        """Replace the state file atomically, readable by its owner only."""
        own_files.write_text(self.state_file, json.dumps(asdict(state), indent=1))


@cache
def _states() -> TypeAdapter[StackState]:
    return TypeAdapter(StackState)
