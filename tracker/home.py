"""The folder of one embedded stack, and the state file in which its supervisor writes addresses."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from tracker import own_files
from tracker.redaction import learn


@dataclass(frozen=True, kw_only=True)
class StackState:
    """Where a running stack can be reached. The URLs hold passwords: the file is 0600."""

    pid: int
    started: float  # the supervisor's creation time: a pid alone may have been reused
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    mlflow_tracking_uri: str = field(repr=False)
    app_url: str
    # May change the schema; the given DATABASE_URL where there is one.
    owner_url: str = field(repr=False)
    # May only read `results`; none when DATABASE_URL was given.
    reader_url: str | None = field(default=None, repr=False)

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # it is another user's, and there
            return True


@dataclass(frozen=True)
class Home:
    """Paths below one home folder."""

    root: Path

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

        Raises `NotReadable` where another user's home does not let us see.
        """
        try:
            state = StackState(**json.loads(own_files.read_text(self.state_file) or "{}"))
        except (ValueError, TypeError):
            return None
        learn(state.database_url, state.broker_url, state.mlflow_tracking_uri)
        learn(state.owner_url, state.reader_url)
        return state if state.alive() else None

    def write_state(self, state: StackState) -> None:
        """Replace the state file at once, readable by its owner only."""
        draft = self.state_file.with_suffix(".tmp")
        draft.touch(mode=0o600)
        draft.chmod(0o600)
        draft.write_text(json.dumps(asdict(state), indent=1))
        draft.replace(self.state_file)
