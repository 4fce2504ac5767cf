"""What a person may decide about a stack; the rest is found."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tracker.errors import TrackerError

SHORTEST = 20  # characters of a token that somebody gives


class NotAPort(TrackerError):
    def __init__(self, variable: str, value: str) -> None:
        super().__init__(
            f"{variable} is {value!r}: give a number from 1 to 65535, or leave it out."
        )


class BadToken(TrackerError):
    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} is no token: give {SHORTEST} or more letters and digits, made at random, "
            "or leave it out, and one is made."
        )


class NotALogin(TrackerError):
    def __init__(self, variable: str, value: str) -> None:
        super().__init__(
            f"{variable} is {value!r}: leave it out, and the app asks for its token, or say none "
            "where a proxy with a login of its own stands before it."
        )


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """A URL that is given replaces a component; a port that is not given is a free one."""

    database_url: str | None = field(default=None, repr=False)
    broker_url: str | None = field(default=None, repr=False)
    mlflow_tracking_uri: str | None = field(default=None, repr=False)
    app_port: int | None = None
    mlflow_port: int | None = None
    app_token: str | None = field(
        default=None, repr=False
    )  # of the home's own, where none is given
    app_asks: bool = True
    postgres_user: str | None = None  # where root starts the stack: a user of its own
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
    """Without the spaces and line endings that a file of variables may leave at its ends."""
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
