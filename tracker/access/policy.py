"""The access policy of one server: its secrets, and the credentials it accepts."""

import json
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from tracker.access import signed_tokens
from tracker.access.signed_tokens import equal
from tracker.secrets.logins import Login
from tracker.secrets.redaction import learn_secret

# Passed to the server in its environment: command-line arguments are visible to every user.
VARIABLE = "HEADBOOK_ACCESS_POLICY"
TOKEN = "token"  # the query parameter of a sign-in link
COOKIE_SECONDS = 7 * 24 * 3600
LINK_SECONDS = 60  # enough for a browser to follow a redirect

_HOST = re.compile(r"(?P<name>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class AccessPolicy:
    """Who may use a server: people by a link with the token, or its cookie; programs by a login."""

    name: str
    port: int
    hosts: tuple[str, ...]  # accepted in the Host header, without a port
    token: str | None = field(default=None, repr=False)
    login: Login | None = field(default=None, repr=False)
    origin: str | None = None  # of the pages as the browser sees them, behind a reverse proxy
    asks: bool = True  # False: everyone who can reach the port is let in

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The policy of this process. Its secrets are redacted from everything it logs."""
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
        """The cookie's name, with the port: browsers share cookies between ports of a host."""
        return f"headbook-{self.name}-{self.port}"

    def new_cookie(self) -> str:
        return self._issue("cookie", COOKIE_SECONDS)

    def new_link(self) -> str:
        """A short-lived token for a link that is followed at once."""
        return self._issue("link", LINK_SECONDS)

    def knows_token(self, sent: str) -> bool:
        return self.token is not None and (equal(sent, self.token) or self._valid(sent, "link"))

    def knows_cookie(self, sent: Iterable[str]) -> bool:
        """Whether any is valid: other servers on this host may have set cookies of that name."""
        return any(self._valid(cookie, "cookie") for cookie in sent)

    def knows_login(self, authorization: str | None) -> bool:
        scheme, _, sent = (authorization or "").partition(" ")
        if self.login is None or scheme.lower() != "basic":
            return False
        try:
            both = b64decode(sent.strip(), validate=True).decode()
        except ValueError:
            return False
        return equal(both, f"{self.login.user}:{self.login.password}")

    def is_own_host(self, host: str) -> bool:
        """Whether the Host header is one of ours, which prevents DNS rebinding."""
        match = _HOST.fullmatch(host)
        return match is not None and match["name"].lower().rstrip(".") in self.hosts

    def is_own_page(self, origin: str, host: str) -> bool:
        """Whether the request comes from a page of this server, not of another port or site."""
        own = {f"http://{host}".lower(), f"https://{host}".lower(), self.origin}
        return origin.lower() in own

    def _issue(self, kind: str, seconds: float) -> str:
        assert self.token is not None
        return signed_tokens.issue(self.token, self._purpose(kind), seconds=seconds)

    def _valid(self, sent: str, kind: str) -> bool:
        return self.token is not None and signed_tokens.valid(sent, self.token, self._purpose(kind))

    def _purpose(self, kind: str) -> str:
        return f"{kind} {self.name} {self.port}"
