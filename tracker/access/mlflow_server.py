"""MLflow's tracking server with access control, in one process.

Run as `python -m tracker.access.mlflow_server`.

`mlflow server` starts the same application in a second process, after loading all of it in the
first; here it is loaded once. The environment holds the database and the access policy.
"""

import argparse
import os
import uuid

import uvicorn  # before MLflow, which looks for it to know that it is a server

from tracker.access.middleware import AccessMiddleware
from tracker.access.mlflow_routes import offered
from tracker.access.policy import AccessPolicy

HEALTH = "/health"
ROOT = "mlflow-artifacts:/"  # of all experiments: the server stores artifacts itself


def serve(port: int, artifacts: str) -> None:
    """Serve until stopped. Requests are not logged: an address may hold a token."""
    os.umask(0o077)
    _configure_mlflow(artifacts)
    from mlflow.server import _UVICORN_LOG_CONFIG

    uvicorn.run(
        _application(),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_config=str(_UVICORN_LOG_CONFIG),
    )


def _configure_mlflow(artifacts: str) -> None:
    """Set what `mlflow server` sets for the processes that it starts."""
    from mlflow import environment_variables as variables
    from mlflow.server import constants

    os.environ.update(
        {
            constants.BACKEND_STORE_URI_ENV_VAR: os.environ["MLFLOW_BACKEND_STORE_URI"],
            constants.REGISTRY_STORE_URI_ENV_VAR: os.environ["MLFLOW_BACKEND_STORE_URI"],
            constants.ARTIFACT_ROOT_ENV_VAR: ROOT,
            constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
            constants.SERVE_ARTIFACTS_ENV_VAR: "true",
            variables._MLFLOW_SGI_NAME.name: "uvicorn",
            variables._MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
            variables._MLFLOW_IN_JOB_EXECUTOR.name: "false",
        }
    )


def _application() -> AccessMiddleware:
    from mlflow.server import app as flask_app
    from mlflow.server import fastapi_app, handlers

    from tracker.access import artifact_folder

    artifact_folder.use_for_all_uris()
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    handlers.initialize_backend_stores(backend, backend, ROOT)
    flask_app.before_request(artifact_folder.refuse_other_locations)
    return AccessMiddleware(
        fastapi_app.app,
        policy=AccessPolicy.from_environment(),
        open_paths=(HEALTH,),
        allows=offered,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--artifacts", required=True, help="the folder, relative to where it runs")
    given = parser.parse_args()
    serve(given.port, given.artifacts)
