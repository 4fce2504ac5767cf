"""The environment, read once by an entry point; everything below gets values."""

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
from tracker.errors import NoBroker, NoDatabase, NoTrackingServer, TrackerError
from tracker.home.home import Home, StackState
from tracker.secrets.redaction import STRUCK, learn, learn_environment, without_credentials
from tracker.secrets.urls import for_links, with_psycopg

_ADDRESSES = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")

LONGEST_PATH = 2000  # bytes: the files of a home need the rest of the 4096 that there are
Memory = Annotated[ByteSize, Field(le=2**60)]
Seconds = Annotated[float, Field(le=10**8, allow_inf_nan=False)]  # three years


class BadEnvironment(TrackerError):
    def __init__(self, error: ValidationError) -> None:
        said = "; ".join(map(_said, error.errors()))
        super().__init__(without_credentials(f"The environment cannot be used. {said}."))


def _said(problem: ErrorDetails) -> str:
    variable = ".".join(map(str, problem["loc"])).upper()
    if variable in _ADDRESSES:  # whatever is wrong with it, it may hold a password
        return f"{variable} is {STRUCK}: {problem['msg']}"
    return f"HEADBOOK_{variable} is {shown(problem['input'])}: {problem['msg']}"


class Settings(BaseSettings):
    """`DATABASE_URL`, `CELERY_BROKER_URL`, `MLFLOW_TRACKING_URI`, and `HEADBOOK_…` for the rest.

    A URL that is not set is that of the stack which runs on the home.
    """

    model_config = SettingsConfigDict(env_prefix="HEADBOOK_", frozen=True, populate_by_name=True)

    home: Path = Path(".headbook")
    database_url: str | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    celery_broker_url: str | None = Field(None, validation_alias="CELERY_BROKER_URL", repr=False)
    mlflow_tracking_uri: str | None = Field(
        None, validation_alias="MLFLOW_TRACKING_URI", repr=False
    )
    model_roots: Annotated[
        tuple[Path, ...], NoDecode
    ] = ()  # models must lie below one; () allows all
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1" …
    memory_budget: Memory | None = None  # of recordings and replays: "300MB", "4GiB"
    app_url: str | None = None
    data_scale: int = Field(1, ge=1, le=MOST_SCALE)  # what every limit on data is multiplied by
    model_cache: Memory | None = None  # of loaded models' weights: "20GiB"; a quarter of memory
    lease_seconds: Seconds = Field(60, gt=0)
    heartbeat_seconds: Seconds = Field(15, gt=0, validate_default=True)
    stall_seconds: Seconds = Field(1800, gt=0)  # without progress; loading a model is one stretch
    part_seconds: Seconds = Field(14_400, gt=0)
    grace_seconds: Seconds = Field(10, ge=0)  # for an analysis that was told to stop
    plugin_seconds: Seconds = Field(20, gt=0)  # for a plugin's import; read where they are tried
    reap_seconds: Seconds = Field(5, gt=0)
    dispatch_seconds: Seconds = Field(0.5, gt=0)
    look_seconds: Seconds = Field(3, gt=0)  # an idle worker looks for runs, rung for or not

    def __init__(self, **given: Any) -> None:
        """What it holds of passwords is shown by no log or error. Raises `BadEnvironment`."""
        learn(*map(os.environ.get, _ADDRESSES))  # whether they can be used or not
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
        """Without the spaces and line endings that a file of variables may leave at its ends."""
        return text.strip() if isinstance(text, str) else text

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        whole = home.expanduser().absolute()
        if len(bytes(whole)) > LONGEST_PATH or any(len(os.fsencode(p)) > 255 for p in whole.parts):
            raise ValueError("no system has so long a path")
        return whole

    @field_validator("model_roots", mode="before")
    @classmethod
    def _split(cls, roots: object) -> object:
        return (
            tuple(Path(r).resolve() for r in roots.split(":") if r)
            if isinstance(roots, str)
            else roots
        )

    @property
    def data_bounds(self) -> Bounds:
        """How much data a command reads."""
        return Bounds().scaled(self.data_scale)

    def app(self) -> str | None:
        """The app's address, where one is known, as a link: with no login, which all would see."""
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
        """The database's URL for somebody who may change the schema; raises `NoDatabase`."""
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
        """MLflow's address; raises `NoTrackingServer`."""
        if self.mlflow_tracking_uri:
            return self.mlflow_tracking_uri
        if stack := self.stack:
            return stack.mlflow_tracking_uri
        raise NoTrackingServer(self.home)


def user() -> str:
    """Who is asking, as far as the system says; containers run under numbers without a name.

    Raises `BadName`: LOGNAME and USER may hold anything.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
    return names.checked("user, as LOGNAME or USER gives it,", name)
