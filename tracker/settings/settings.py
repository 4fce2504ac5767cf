"""Settings from the environment. Only entry points read them, and pass on values."""

import getpass
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import ByteSize, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from analyses import names
from analyses.errors import shown
from analyses.prompts.bounds import MOST_SCALE, Bounds
from tracker.errors import TrackerError
from tracker.home.home import Home, StackState
from tracker.secrets.redaction import STRUCK, learn, learn_environment, without_credentials
from tracker.secrets.urls import for_links, with_psycopg

_ADDRESSES = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")

LONGEST_PATH = 2000  # bytes; paths of files below it stay within the system's 4096
Memory = Annotated[ByteSize, Field(le=2**60)]
Seconds = Annotated[float, Field(le=10**8, allow_inf_nan=False)]  # three years


class BadEnvironment(TrackerError):
    def __init__(self, error: ValidationError) -> None:
        said = "; ".join(map(_said, error.errors()))
        super().__init__(without_credentials(f"Invalid environment: {said}."))


class NoDatabase(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No database is known: DATABASE_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set DATABASE_URL."
        )


class NoBroker(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No broker is known: CELERY_BROKER_URL is not set and no stack runs on {home}. "
            "Start one with `headbook up`, or set CELERY_BROKER_URL."
        )


class NoTrackingServer(TrackerError):
    def __init__(self, home: object) -> None:
        super().__init__(
            f"No MLflow server is known: MLFLOW_TRACKING_URI is not set and no stack runs on "
            f"{home}. Start one with `headbook up`, or set MLFLOW_TRACKING_URI."
        )


def _said(problem: ErrorDetails) -> str:
    variable = ".".join(map(str, problem["loc"])).upper()
    if variable in _ADDRESSES:  # it may contain a password
        return f"{variable} is {STRUCK}: {problem['msg']}"
    return f"HEADBOOK_{variable} is {shown(problem['input'])}: {problem['msg']}"


class Settings(BaseSettings):
    """`DATABASE_URL`, `CELERY_BROKER_URL`, `MLFLOW_TRACKING_URI`, and `HEADBOOK_…` for the rest.

    A URL that is not set is the one of the stack running on the home.
    """

    model_config = SettingsConfigDict(env_prefix="HEADBOOK_", frozen=True, populate_by_name=True)

    home: Path = Path(".headbook")
    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    celery_broker_url: str | None = Field(None, validation_alias="CELERY_BROKER_URL", repr=False)
    mlflow_tracking_uri: str | None = Field(
        None, validation_alias="MLFLOW_TRACKING_URI", repr=False
    )
    model_roots: Annotated[tuple[Path, ...], NoDecode] = ()  # folders of models; () allows all
    data_roots: Annotated[tuple[Path, ...], NoDecode] = ()  # of prompts; () allows all to commands
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1" …
    memory_budget: Memory | None = None  # for recordings and replays: "300MB", "4GiB"
    only_above: Memory | None = None  # a worker for runs that need more than so much alone
    app_url: str | None = None
    data_scale: int = Field(1, ge=1, le=MOST_SCALE)  # multiplies every limit on data
    model_cache: Memory | None = None  # of weights of loaded models; default: 1/4 of memory
    lease_seconds: Seconds = Field(60, gt=0)
    heartbeat_seconds: Seconds = Field(15, gt=0, validate_default=True)
    stall_seconds: Seconds = Field(1800, gt=0)  # without progress; loading a model is one step
    part_seconds: Seconds = Field(14_400, gt=0)
    grace_seconds: Seconds = Field(10, ge=0)  # for an analysis to stop when told to
    plugin_seconds: Seconds = Field(20, gt=0)  # for importing a plugin
    reap_seconds: Seconds = Field(5, gt=0)
    dispatch_seconds: Seconds = Field(0.5, gt=0)
    look_seconds: Seconds = Field(3, gt=0)  # between two polls of Postgres by an idle worker

    def __init__(self, **given: Any) -> None:
        """Redacts its passwords from logs and errors. Raises `BadEnvironment`."""
        learn(*map(os.environ.get, _ADDRESSES))  # also those of invalid URLs
        learn_environment(os.environ)
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise BadEnvironment(error) from None
        learn(self.database_url, self.celery_broker_url, self.mlflow_tracking_uri, self.app_url)

    @field_validator("heartbeat_seconds")
    @classmethod
    def _often_enough(cls, seconds: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds")
        if lease is not None and seconds * 2 > lease:
            raise ValueError(f"HEADBOOK_LEASE_SECONDS={lease:g} must outlast two heartbeats")
        return seconds

    @field_validator(
        *("database_url", "celery_broker_url", "mlflow_tracking_uri", "app_url", "device"),
        mode="before",
    )
    @classmethod
    def _whole(cls, text: object) -> object:
        """Stripped: env files may leave spaces and line endings."""
        return text.strip() if isinstance(text, str) else text

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        whole = home.expanduser().absolute()
        if len(bytes(whole)) > LONGEST_PATH or any(len(os.fsencode(p)) > 255 for p in whole.parts):
            raise ValueError("the path is too long")
        return whole

    @field_validator("model_roots", "data_roots", mode="before")
    @classmethod
    def _split(cls, roots: object) -> object:
        return (
            tuple(Path(r).resolve() for r in roots.split(":") if r)
            if isinstance(roots, str)
            else roots
        )

    @property
    def data_bounds(self) -> Bounds:
        """The limits on data that commands read."""
        return Bounds().scaled(self.data_scale)

    def app(self) -> str | None:
        """The app's URL if known, without a login, as everyone would see it."""
        stack = self.stack
        known = self.app_url or (stack.app_url if stack else None)
        return for_links(known) if known else None

    @property
    def stack(self) -> StackState | None:
        return Home(self.home).running()

    def database(self) -> str:
        """The database's SQLAlchemy URL; raises `NoDatabase`."""
        if self.database_url:
            return with_psycopg(self.database_url)
        if stack := self.stack:
            return stack.database_url
        raise NoDatabase(self.home)

    def owner_database(self) -> str:
        """The database's URL with the right to change the schema; raises `NoDatabase`."""
        stack = self.stack
        return self.database() if self.database_url or not stack else stack.owner_url

    def broker(self) -> str:
        """The Celery broker's URL; raises `NoBroker`."""
        if self.celery_broker_url:
            return self.celery_broker_url
        if stack := self.stack:
            return stack.broker_url
        raise NoBroker(self.home)

    def tracking(self) -> str:
        """MLflow's URL; raises `NoTrackingServer`."""
        if self.mlflow_tracking_uri:
            return self.mlflow_tracking_uri
        if stack := self.stack:
            return stack.mlflow_tracking_uri
        raise NoTrackingServer(self.home)


def user() -> str:
    """The current user's name, or uid where there is none (as in containers).

    Raises `BadName`: LOGNAME and USER may contain anything.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
    return names.checked("user name (LOGNAME or USER)", name)
