"""URLs of servers: as SQLAlchemy and libpq want them, and as they may be shown."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from tracker.redaction import first_line as first_line
from tracker.redaction import without_credentials as without_credentials
from tracker.redaction import without_password as without_password


def with_psycopg(url: str) -> str:
    """A plain `postgres://…` or `postgresql://…` URL, as SQLAlchemy wants it for psycopg 3.

    Several hosts, `h1:5432,h2:5433`, become parameters: between slashes it takes only one.
    """
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            url = "postgresql+psycopg://" + url.removeprefix(prefix)
    head, slashes, rest = url.partition("://")
    place, _, query = rest.partition("?")
    netloc, _, database = place.partition("/")
    login, at, hosts = netloc.rpartition("@")
    if head != "postgresql+psycopg" or "," not in hosts:
        return url
    named = [f"host={each}" for each in hosts.split(",")]
    return f"{head}{slashes}{login}{at}/{database}?{'&'.join([*named, *filter(None, [query])])}"


def without_psycopg(url: str) -> str:
    """The URL as libpq, psql and pandas take it."""
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    head, mark, query = plain.partition("?")
    given = query.split("&") if mark else []
    hosts = [each.removeprefix("host=") for each in given if each.startswith("host=")]
    if len(hosts) < 2:
        return plain
    others = "&".join(each for each in given if not each.startswith("host="))
    login, at, database = head.rpartition("@")
    if not at:
        login, at, database = "postgresql://", "", head.removeprefix("postgresql://")
    return f"{login}{at}{','.join(hosts)}{database}{'?' if others else ''}{others}"


@dataclass(frozen=True, kw_only=True)
class Login:
    """The name and password of an address, as they are typed."""

    user: str
    password: str = field(repr=False)


def apart_from_login(url: str) -> tuple[str, Login | None]:
    """The URL without name and password, and those."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at or parts.scheme not in ("http", "https"):
        return url, None
    user, _, password = login.partition(":")
    given = Login(user=unquote(user), password=unquote(password))
    return urlunsplit(parts._replace(netloc=place)), given
