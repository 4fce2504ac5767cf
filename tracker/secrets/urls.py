"""URLs of servers: for SQLAlchemy, for libpq, and for display."""

import re
from urllib.parse import urlsplit, urlunsplit

from tracker.secrets.logins import apart
from tracker.secrets.redaction import first_line as first_line
from tracker.secrets.redaction import without_credentials as without_credentials
from tracker.secrets.redaction import without_password as without_password

_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?")


def with_psycopg(url: str) -> str:
    """A `postgres://…` or `postgresql://…` URL in SQLAlchemy's form for psycopg 3.

    Several hosts become query parameters, which both accept; `h1:5432,h2:5433` is libpq's syntax.
    """
    for prefix in ("postgres://", "postgresql://", "postgresql+psycopg://"):
        if url.startswith(prefix):
            return _one_place("postgresql+psycopg://", url.removeprefix(prefix))
    return url


def _one_place(scheme: str, rest: str) -> str:
    place, _, query = rest.partition("?")
    netloc, _, database = place.partition("/")
    login, at, hosts = netloc.rpartition("@")
    named = [found for each in hosts.split(",") if (found := _HOST.fullmatch(each))]
    if len(named) != hosts.count(",") + 1 or len(named) < 2:
        return scheme + rest
    names = ",".join(each["host"].strip("[]") for each in named)
    numbers = ",".join(each["port"] or "" for each in named)
    given = [f"host={names}", f"port={numbers}" if numbers.strip(",") else "", query]
    return f"{scheme}{login}{at}/{database}?{'&'.join(filter(None, given))}"


def for_people(url: str) -> str:
    """The URL to open in a browser, without the login, which is for programs."""
    return without_password(apart(url)[0])


def without_psycopg(url: str) -> str:
    """The URL in the form of libpq, psql and pandas."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def for_links(url: str) -> str:
    """A web URL as the base of links: without login, query and trailing slash."""
    parts = urlsplit(url)
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
    )
