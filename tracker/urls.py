"""URLs of servers: as SQLAlchemy wants them, and as they may be shown."""

import re
from urllib.parse import parse_qs, urlsplit, urlunsplit

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*@")


def with_psycopg(url: str) -> str:
    """A plain `postgres://…` or `postgresql://…` URL, as SQLAlchemy wants it for psycopg 3."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def without_psycopg(url: str) -> str:
    """The URL as libpq, psql and pandas take it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None and "password" not in parse_qs(parts.query):
        return url
    place = parts.netloc.rpartition("@")[2]
    query = "" if "password" in parse_qs(parts.query) else parts.query
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{place}", query=query))


def without_credentials(text: str) -> str:
    """What an error says, with the name and password of every URL in it left out."""
    return _CREDENTIALS.sub("***@", text)


def first_line(error: BaseException) -> str:
    """What an error says, in one line that may be shown; a log has the rest."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_credentials(lines[0])[:300]
