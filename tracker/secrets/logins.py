"""The name and password that an http address may hold, apart from it."""

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit


@dataclass(frozen=True, kw_only=True)
class Login:
    """A name and a password as they are typed."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> dict[str, str]:
        """What basic authentication sends."""
        both = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}

    def within(self, url: str) -> str:
        """An http address that holds this login."""
        parts = urlsplit(url)
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def apart(url: str) -> tuple[str, Login | None]:
    """An http address without its login, and that; others as they are."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at or parts.scheme not in ("http", "https"):
        return url, None
    user, _, password = login.partition(":")
    given = Login(user=unquote(user), password=unquote(password))
    return urlunsplit(parts._replace(netloc=place)), given
