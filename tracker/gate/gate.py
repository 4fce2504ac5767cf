"""The gate in front of a server: it lets in who is known, and nobody else reaches what is behind.

It stands outside of all routes, for requests and for WebSockets alike, so that nothing has to be
remembered for a single one of them.
"""

from collections.abc import Callable, Collection, Iterator
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker.gate.door import COOKIE_SECONDS, TOKEN, Door

Allows = Callable[[str, str], bool]  # a method, and a path as the routes see it

UNKNOWN = "You are not signed in here. Open the link that `headbook status` prints.\n"
OTHER_HOST = "This server does not go by the name that the request gives it.\n"
OTHER_PAGE = "A page of another server may not ask here.\n"
NOT_OFFERED = "This server does not offer that: {method} {path}\n"
_READS = ("GET", "HEAD")


class Gate:
    """An ASGI application in front of another."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: Door,
        open_paths: Collection[str] = (),
        allows: Allows = lambda method, path: True,
    ) -> None:
        self._app = app
        self._door = door
        self._open_paths = open_paths  # what they answer tells nothing
        self._allows = allows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope):
            answer = self._answer(scope)
            if answer is not None:
                await answer(scope, receive, send)
                return
            send = _not_framed_by_others(send)
        elif scope["type"] == "websocket" and not self._may_connect(scope):
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: 403
            return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["method"] in _READS and scope["path"] in self._open_paths

    def _answer(self, scope: Scope) -> Response | None:
        """What is said in place of the server behind; None lets the request pass."""
        headers = Headers(scope=scope)
        if refusal := self._stranger(headers):
            return PlainTextResponse(refusal, 403)
        if scope["method"] in _READS and (asked := _with_token(scope, headers, self._door)):
            return asked
        if not self._knows(headers):
            return PlainTextResponse(
                UNKNOWN, 401, {"WWW-Authenticate": "Cookie", "Cache-Control": "no-store"}
            )
        if not self._allows(scope["method"], scope["path"]):
            said = NOT_OFFERED.format(method=scope["method"], path=quote(scope["path"]))
            return PlainTextResponse(said, 403)
        return None

    def _may_connect(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        return not self._stranger(headers) and self._knows(headers)

    def _stranger(self, headers: Headers) -> str | None:
        """Why nothing of this request is looked at, whoever sends it."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._door.is_called(hosts[0]):
            return OTHER_HOST
        if not all(self._door.is_own_page(origin, hosts[0]) for origin in origins):
            return OTHER_PAGE
        return None

    def _knows(self, headers: Headers) -> bool:
        door = self._door
        return (
            not door.asks
            or door.knows_login(headers.get("authorization"))
            or door.knows_cookie(_cookies(headers, door.cookie))
        )


def _with_token(scope: Scope, headers: Headers, door: Door) -> Response | None:
    """The same address without its token, which neither stays in sight nor is passed on.

    A browser keeps the fragment, in which MLflow's pages have their own address.
    """
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    sent = [value for name, value in query if name == TOKEN]
    if not sent:
        return None
    rest = urlencode([(name, value) for name, value in query if name != TOKEN])
    # One slash alone: two would be the beginning of another server's address.
    path = "/" + quote(scope["path"]).lstrip("/")
    answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    if any(map(door.knows_token, sent)):
        answer.set_cookie(
            door.cookie,
            door.new_cookie(),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",  # strict would ask who follows a link from MLflow's notes to the app
            secure=(door.origin or "").startswith("https:"),
        )
    elif door.asks and not door.knows_cookie(_cookies(headers, door.cookie)):
        return None
    return answer


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value


def _not_framed_by_others(send: Send) -> Send:
    """No page of another port may lay ours under its own: browsers count ports as one site."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return sent
