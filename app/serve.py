"""The app as a server: the gate before its pages, and the way on to MLflow for who is signed in.

Its secrets stand in the environment of its process. `services.app_argv` says how it is started.
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


def to_mlflow(_: Request) -> RedirectResponse:
    """MLflow's pages, with a token that is good for a minute and for nothing else.

    It is made when somebody follows the link, so that no page holds one. The browser keeps the
    fragment, which names the page there.
    """
    from app import data  # all that the pages need, which the first of them loads

    address = data.mlflow_entrance(signed_in=POLICY.asks)
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


app = App(
    "main.py",
    routes=[Route(f"/{links.MLFLOW}/", to_mlflow)],
    middleware=[Middleware(AccessMiddleware, policy=POLICY, open_paths=("/_stcore/health",))],
)
