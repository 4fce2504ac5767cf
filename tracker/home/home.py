"""The folder of one embedded stack, and the state file in which its supervisor writes addresses."""

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

# Entries of a home that are ours; whatever else lies there is left alone.
_FILES = (
    *("state.json", "lock.json", "secrets.json", "processes.json"),
    *("ports.json", "postgres.json", "mlflow.db"),
)
_FOLDERS = ("logs", "artifacts", "models", "spool", "valkey", "postgres")

Pid = Annotated[int, Field(gt=0, lt=2**31)]


@dataclass(frozen=True, kw_only=True)
class StackState:
    """Where a running stack can be reached. The URLs hold passwords: the file is 0600."""

    pid: Pid
    started: float  # the supervisor's creation time: a pid alone may have been reused
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    mlflow_tracking_uri: str = field(repr=False)
    app_url: str
    # May change the schema; the given DATABASE_URL where there is one.
    owner_url: str = field(repr=False)
    # May only read `results`; none when DATABASE_URL was given.
    reader_url: str | None = field(default=None, repr=False)
    # Of people's links; none where the app asks nobody, or MLflow is somebody else's.
    app_token: str | None = field(default=None, repr=False)
    mlflow_token: str | None = field(default=None, repr=False)

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # another user's: the number was given anew
            return False


@dataclass(frozen=True)
class Home:
    """Paths below one home folder, which is this user's own to change, or not there yet.

    That is checked here, before anything is read, so that nobody has a home that somebody else has
    planted. Raises `BelongsToAnother`, `NotOurs`, `NotReadable`.
    """

    root: Path

    def __post_init__(self) -> None:
        ownership.check_own(self.root)
        if self.root.exists():
            reachable = bool(self.root.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))
            for name in (*_FILES, *_FOLDERS):
                own_files.check_entry(self.root / name, reachable=reachable)

    def make(self) -> None:
        """Make the folder, and close those of our files in it that others can read.

        Raises `OSError`, and what a home raises if somebody was quicker.
        """
        # Postgres' own user may have to pass through a home that root makes.
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
        """Held by the supervisor while it lives; says who it is."""
        return self.root / "lock.json"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def processes_file(self) -> Path:
        """What the supervisor has started, for `status`."""
        return self.root / "processes.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def artifacts(self) -> Path:
        """What MLflow stores."""
        return self.root / "artifacts"

    @property
    def models(self) -> Path:
        """Models converted from GGUF, one folder each."""
        return self.root / "models"

    @property
    def spool(self) -> Path:
        """Copies of tensor files, until MLflow is known to hold them."""
        return self.root / "spool"

    def running(self) -> StackState | None:
        """The stack that runs on this home now, if one does; its passwords are shown nowhere.

        Raises `NotReadable` and `NotOurs` for a file that is not ours to read.
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
        """Replace the state file at once, readable by its owner only."""
        own_files.write_text(self.state_file, json.dumps(asdict(state), indent=1))


@cache
def _states() -> TypeAdapter[StackState]:
    return TypeAdapter(StackState)
