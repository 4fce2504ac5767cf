"""A server of ours on a port of this machine: its secrets, and how its visitors show them."""

import json
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from tracker.gate import tickets
from tracker.gate.alike import alike
from tracker.secrets.logins import Login
from tracker.secrets.redaction import learn_secret

VARIABLE = "HEADBOOK_DOOR"  # of the server's process; no argument, which every user could read
TOKEN = "token"  # of a link's query
COOKIE_SECONDS = 7 * 24 * 3600
LINK_SECONDS = 60  # for a browser to follow a redirect

_HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Door:
    """Who may come in: by the link with the token, by its cookie, or by the login of programs."""

    name: str
    port: int
    hosts: tuple[str, ...]  # by which people come: names without a port
    token: str | None = field(default=None, repr=False)
    login: Login | None = field(default=None, repr=False)
    origin: str | None = None  # of the pages behind a proxy, as their browser sees it
    asks: bool = True  # or else whoever reaches it may come in

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """That of this process; its secrets are struck out of what it shows."""
        given = json.loads(environment[VARIABLE])
        login = Login(**given["login"]) if given["login"] else None
        learn_secret(given["token"])
        learn_secret(login.password if login else None)
        return cls(**given | {"hosts": tuple(given["hosts"]), "login": login})

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @property
    def cookie(self) -> str:
        """Its name. Browsers send cookies to every port of a host, so that each has its own."""
        return f"headbook-{self.name}-{self.port}"

    def new_cookie(self) -> str:
        return self._issue("cookie", COOKIE_SECONDS)

    def new_link(self) -> str:
        """A token for a link that is followed at once."""
        return self._issue("link", LINK_SECONDS)

    def knows_token(self, sent: str) -> bool:
        return self.token is not None and (alike(sent, self.token) or self._valid(sent, "link"))

    def knows_cookie(self, sent: Iterable[str]) -> bool:
        """Whether one of them is ours: a stranger's server may have added others of the name."""
        return any(self._valid(each, "cookie") for each in sent)

    def knows_login(self, authorization: str | None) -> bool:
        scheme, _, sent = (authorization or "").partition(" ")
        if self.login is None or scheme.lower() != "basic":
            return False
        try:
            both = b64decode(sent.strip(), validate=True).decode()
        except ValueError:
            return False
        return alike(both, f"{self.login.user}:{self.login.password}")

    def is_called(self, host: str) -> bool:
        """Whether a request's Host is a name of ours: another one leads here by a trick of DNS."""
        found = _HOST.fullmatch(host)
        return found is not None and found["name"].lower().rstrip(".") in self.hosts

    def is_own_page(self, origin: str, host: str) -> bool:
        """Whether a page of this server asks, not one of another port or site."""
        own = {f"http://{host}".lower(), f"https://{host}".lower(), self.origin}
        return origin.lower() in own

    def _issue(self, kind: str, seconds: float) -> str:
        assert self.token is not None
        return tickets.issue(self.token, self._purpose(kind), seconds=seconds)

    def _valid(self, sent: str, kind: str) -> bool:
        return self.token is not None and tickets.valid(sent, self.token, self._purpose(kind))

    def _purpose(self, kind: str) -> str:
        return f"{kind} {self.name} {self.port}"
