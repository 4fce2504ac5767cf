"""Options of a stack. What is not set is chosen automatically."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tracker.errors import TrackerError

SHORTEST = 20  # characters of a token set by hand


class NotAPort(TrackerError):
    def __init__(self, variable: str, value: str) -> None:
        super().__init__(
            f"{variable} is {value!r}: set it to a number from 1 to 65535, or unset it."
        )


class BadToken(TrackerError):
    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is not a valid token: use {SHORTEST} or more random letters and digits, "
            "or unset it to have one generated."
        )


class NotALogin(TrackerError):
    def __init__(self, variable: str, value: str) -> None:
        super().__init__(
            f"{variable} is {value!r}: unset it to make the app ask for its token, or set it to "
            "none behind a reverse proxy that authenticates users."
        )


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """A URL replaces the embedded component; a port that is not set is any free one."""

    database_url: str | None = field(default=None, repr=False)
    broker_url: str | None = field(default=None, repr=False)
    mlflow_tracking_uri: str | None = field(default=None, repr=False)
    app_port: int | None = None
    mlflow_port: int | None = None
    app_token: str | None = field(
        default=None, repr=False
    )  # None: the token generated for the home
    app_asks: bool = True
    postgres_user: str | None = None  # when started by root; None: a dedicated uid
    device: str = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        return cls(
            database_url=_given(environment, "DATABASE_URL"),
            broker_url=_given(environment, "CELERY_BROKER_URL"),
            mlflow_tracking_uri=_given(environment, "MLFLOW_TRACKING_URI"),
            app_port=_port(environment, "HEADBOOK_APP_PORT"),
            mlflow_port=_port(environment, "HEADBOOK_MLFLOW_PORT"),
            app_token=_token(environment, "HEADBOOK_APP_TOKEN"),
            app_asks=_asks(environment, "HEADBOOK_APP_LOGIN"),
            postgres_user=environment.get("HEADBOOK_POSTGRES_USER") or None,
            device=environment.get("HEADBOOK_DEVICE") or "auto",
        )


def _given(environment: Mapping[str, str], variable: str) -> str | None:
    """Stripped: env files may leave spaces and line endings."""
    return environment.get(variable, "").strip() or None


def _token(environment: Mapping[str, str], variable: str) -> str | None:
    given = _given(environment, variable)
    if given and not re.fullmatch(rf"[A-Za-z0-9_-]{{{SHORTEST},}}", given):
        raise BadToken(variable)
    return given


def _asks(environment: Mapping[str, str], variable: str) -> bool:
    given = _given(environment, variable) or "token"
    if given not in ("token", "none"):
        raise NotALogin(variable, given)
    return given == "token"


def _port(environment: Mapping[str, str], variable: str) -> int | None:
    if not (value := environment.get(variable)):
        return None
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise NotAPort(variable, value)
    return int(value)
