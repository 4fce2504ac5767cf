"""The environment, read once by an entry point; everything below gets values."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tracker.errors import NoBroker, NoDatabase, NoTrackingServer
from tracker.home import Home, StackState


class Settings(BaseSettings):
    """`DATABASE_URL`, `CELERY_BROKER_URL`, `MLFLOW_TRACKING_URI`, and `HEADBOOK_…` for the rest.

    A URL that is not set is that of the stack which runs on the home.
    """

    model_config = SettingsConfigDict(env_prefix="HEADBOOK_", frozen=True, populate_by_name=True)

    home: Path = Path(".headbook")
    database_url: str | None = Field(None, validation_alias="DATABASE_URL")
    celery_broker_url: str | None = Field(None, validation_alias="CELERY_BROKER_URL")
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    model_roots: Annotated[
        tuple[Path, ...], NoDecode
    ] = ()  # models must lie below one; () allows all
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1" …
    app_url: str | None = None
    lease_seconds: float = Field(60, gt=0)
    heartbeat_seconds: float = Field(15, gt=0)
    reap_seconds: float = Field(5, gt=0)
    dispatch_seconds: float = Field(0.5, gt=0)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("model_roots", mode="before")
    @classmethod
    def _split(cls, roots: object) -> object:
        return (
            tuple(Path(r).resolve() for r in roots.split(":") if r)
            if isinstance(roots, str)
            else roots
        )

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


def with_psycopg(url: str) -> str:
    """A plain `postgres://…` or `postgresql://…` URL, as SQLAlchemy wants it for psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url
