"""ASGI middleware that authenticates every request and WebSocket before the application sees it.

It wraps the application as a whole, so no route can be forgotten.
"""

from collections.abc import Callable, Collection, Iterator
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker.access.policy import COOKIE_SECONDS, TOKEN, AccessPolicy

Allows = Callable[[str, str], bool]  # of a method, and a path as the routes see it

UNKNOWN = "Not signed in. Open the link that `headbook status` prints.\n"
OTHER_HOST = "Invalid Host header.\n"
OTHER_PAGE = "Cross-origin request refused.\n"
NOT_OFFERED = "Not available on this server: {method} {path}\n"
_READS = ("GET", "HEAD")


class AccessMiddleware:
    """Passes on to `app` what the policy lets in, and answers everything else itself."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: AccessPolicy,
        open_paths: Collection[str] = (),
        allows: Allows = lambda method, path: True,
    ) -> None:
        self._app = app
        self._policy = policy
        self._open_paths = open_paths  # open to everyone: their answers reveal nothing
        self._allows = allows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope):
            response = self._response(scope)
            if response is not None:
                await response(scope, receive, send)
                return
            send = _without_framing(send)
        elif scope["type"] == "websocket" and not self._may_connect(scope):
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return scope["method"] in _READS and scope["path"] in self._open_paths

    def _response(self, scope: Scope) -> Response | None:
        """A response in place of the application's; None lets the request pass."""
        headers = Headers(scope=scope)
        if refusal := self._refusal(headers):
            return PlainTextResponse(refusal, 403)
        if scope["method"] in _READS and (redirect := _signed_in(scope, headers, self._policy)):
            return redirect
        if not self._knows(headers):
            return PlainTextResponse(
                UNKNOWN, 401, {"WWW-Authenticate": "Cookie", "Cache-Control": "no-store"}
            )
        if not self._allows(scope["method"], scope["path"]):
            message = NOT_OFFERED.format(method=scope["method"], path=quote(scope["path"]))
            return PlainTextResponse(message, 403)
        return None

    def _may_connect(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        return not self._refusal(headers) and self._knows(headers)

    def _refusal(self, headers: Headers) -> str | None:
        """Why the request is refused whoever sends it; None if it is not."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._policy.is_own_host(hosts[0]):
            return OTHER_HOST
        if not all(self._policy.is_own_page(origin, hosts[0]) for origin in origins):
            return OTHER_PAGE
        return None

    def _knows(self, headers: Headers) -> bool:
        policy = self._policy
        return (
            not policy.asks
            or policy.knows_login(headers.get("authorization"))
            or policy.knows_cookie(_cookies(headers, policy.cookie))
        )


def _signed_in(scope: Scope, headers: Headers, policy: AccessPolicy) -> Response | None:
    """A redirect to the same address without its token; None if no token was sent, or a wrong one.

    So the token neither stays in the address bar nor reaches the application. Browsers keep the
    fragment, where MLflow's pages have their route.
    """
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    sent = [value for name, value in query if name == TOKEN]
    if not sent:
        return None
    rest = urlencode([(name, value) for name, value in query if name != TOKEN])
    # One leading slash: two would start the address of another server (an open redirect).
    path = "/" + quote(scope["path"]).lstrip("/")
    redirect = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
    redirect.headers["Cache-Control"] = "no-store"
    redirect.headers["Referrer-Policy"] = "no-referrer"
    if any(map(policy.knows_token, sent)):
        redirect.set_cookie(
            policy.cookie,
            policy.new_cookie(),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="lax",  # strict would sign out whoever follows a link from MLflow to the app
            secure=(policy.origin or "").startswith("https:"),
        )
    elif policy.asks and not policy.knows_cookie(_cookies(headers, policy.cookie)):
        return None
    return redirect


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                yield value


def _without_framing(send: Send) -> Send:
    """Forbids other ports to frame our pages (clickjacking): to browsers they are the same site."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return sent
