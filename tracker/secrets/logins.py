"""Splits an HTTP URL into its address and its login."""

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user name and a password, unquoted."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """The header of HTTP basic authentication."""
        both = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}

    def within(self, url: str) -> str:
        """The HTTP URL with this login in it."""
        parts = urlsplit(url)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def apart(url: str) -> tuple[str, Login | None]:
    """An HTTP URL without its login, and the login; other URLs unchanged."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at or parts.scheme not in ("http", "https"):
        return url, None
    user, _, password = login.partition(":")
    given = Login(user=unquote(user), password=unquote(password))
    return urlunsplit(parts._replace(netloc=place)), given
