"""MLflow's tracking server behind the gate, in one process; `python -m tracker.gate.mlflow_server`.

`mlflow server` starts the same application in a second process, after loading all of it in the
first; here it is loaded once. The environment names the database and who may come in.
"""

import argparse
import os
import uuid

import uvicorn  # before MLflow, which looks for it to know that it is a server

from tracker.gate.door import Door
from tracker.gate.gate import Gate
from tracker.gate.mlflow_routes import offered

HEALTH = "/health"
ROOT = "mlflow-artifacts:/"  # of all experiments: kept by the server itself


def serve(port: int, artifacts: str) -> None:
    """Until stopped. Requests are not logged: an address may hold a token."""
    os.umask(0o077)
    _tell_mlflow(artifacts)
    from mlflow.server import _UVICORN_LOG_CONFIG

    uvicorn.run(
        _application(),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_config=str(_UVICORN_LOG_CONFIG),
    )


def _tell_mlflow(artifacts: str) -> None:
    """What `mlflow server` tells the processes that it starts."""
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


def _application() -> Gate:
    from mlflow.server import app as flask_app
    from mlflow.server import fastapi_app, handlers

    from tracker.gate import own_artifacts

    own_artifacts.keep_to_own()
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    handlers.initialize_backend_stores(backend, backend, ROOT)
    flask_app.before_request(own_artifacts.refuse_other_locations)
    return Gate(
        fastapi_app.app,
        door=Door.from_environment(),
        open_paths=(HEALTH,),
        allows=offered,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--artifacts", required=True, help="the folder, relative to where it runs")
    given = parser.parse_args()
    serve(given.port, given.artifacts)
