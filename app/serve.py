"""The app as an ASGI server: access control, and the redirect to MLflow for signed-in users.

Its secrets come from the environment of its process. `services.app_argv` has the command line.
"""

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route
from streamlit.starlette import App

from app import links
from tracker.access.middleware import AccessMiddleware
from tracker.access.policy import AccessPolicy

POLICY = AccessPolicy.from_environment()


def redirect_to_mlflow(_: Request) -> RedirectResponse:
    """Redirect to MLflow with a token that only signs in there and expires after a minute.

    The token is created when a user follows the link, so no page contains one. The browser keeps
    the URL's fragment, which names the page in MLflow.
    """
    from app import data  # slow to import; the first page loads it anyway

    address = data.mlflow_redirect_url(signed_in=POLICY.asks)
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


app = App(
    "main.py",
    routes=[Route(f"/{links.MLFLOW}/", redirect_to_mlflow)],
    middleware=[Middleware(AccessMiddleware, policy=POLICY, open_paths=("/_stcore/health",))],
)
