"""The environment of this product's processes, filtered rather than inherited.

A person's variables for libpq, Celery, MLflow or Streamlit are meant for other uses of these tools.
Here they would redirect or break connections and servers that have their own settings, so they are
removed; everything else is passed on.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tracker.secrets import secret_forms

# An interpreter that imports nothing from the folder where one stands.
PYTHON = (sys.executable, "-P")

_ROOT = Path(__file__).parents[2]  # of the packages of this product

# Prefixes of the variables of bundled tools.
_TOOLS = (
    "PG",
    "PSYCOPG_",
    "SQLALCHEMY_",
    "ALEMBIC_",
    "CELERY_",
    "KOMBU_",
    "MLFLOW_",
    "_MLFLOW_",
    "STREAMLIT_",
    "FLASK_",
    "UVICORN_",
    "GUNICORN_",
    "WATCHFILES_",
    "STRUCTLOG_",
)
_SINGLE = frozenset(
    (
        *("C_IMPDEBUG", "FORKED_BY_MULTIPROCESSING", "MP_LOG"),
        *("FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR"),
        # They make the interpreter stop, prompt, warn or import differently.
        *("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONVERBOSE", "PYTHONDEBUG"),
        *("PYTHONOPTIMIZE", "PYTHONCASEOK", "PYTHONIOENCODING"),
        *("MATPLOTLIBRC", "MPLBACKEND"),
        # Set by git hooks; they would point to another repository.
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    )
)

# Exceptions: ours, and the retry settings of MLflow.
_OURS = ("CELERY_BROKER_URL", "MLFLOW_TRACKING_URI", "MLFLOW_HTTP_", "MLFLOW_DISABLE_TELEMETRY")
# Credentials and certificates, for servers that are not embedded.
_OF_A_NAMED_SERVER = {
    "DATABASE_URL": (
        *("PGPASSWORD", "PGPASSFILE", "PGSSL", "PGREQUIREAUTH", "PGREQUIREPEER"),
        *("PGCHANNELBINDING", "PGGSS", "PGKRB", "PGSERVICEFILE", "PGSYSCONFDIR"),
    ),
    "MLFLOW_TRACKING_URI": (
        *("MLFLOW_TRACKING_", "MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_BOTO_", "MLFLOW_KERBEROS_"),
        *("MLFLOW_WORKSPACE", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "MLFLOW_MULTIPART_"),
        *("MLFLOW_ENABLE_MULTIPART_", "MLFLOW_ENABLE_PROXY_MULTIPART_"),
    ),
}

# Made absolute: workers and the dispatcher run in another working directory.
_PATHS = (
    *("PYTHONPATH", "HEADBOOK_MODEL_ROOTS", "HEADBOOK_DATA_ROOTS", "TMPDIR"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"),
    *("PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL"),
    *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
)
_NO_PATHS = ("~", "system")  # of a home; and libpq's name for the system's certificates
_ADDRESSES = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def made(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours, from the caller's."""
    kept = {name: value for name, value in given.items() if _passes(name, given)}
    return (
        kept
        | {name: _absolute(kept[name]) for name in _PATHS if name in kept}
        | {name: _without_loopback(given, name) for name in ("no_proxy", "NO_PROXY")}
        # No Python started from here imports from the working directory.
        | {"PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    )


def without_secrets(given: Mapping[str, str]) -> dict[str, str]:
    """The same without passwords, tokens and addresses, for a process that uses no server."""
    return {
        name: value
        for name, value in made(given).items()
        if not secret_forms.is_secret_variable(name) and name not in _ADDRESSES
    }


def adopt() -> None:
    """Filter the environment of this process, for its libraries and children.

    It also stops importing from the working directory, which `python -m` puts first.
    """
    own = made(os.environ)
    for name in os.environ.keys() - own.keys():
        del os.environ[name]  # os.environ updates the C library's environment, which libpq reads
    os.environ.update(own)
    with suppress(FileNotFoundError):  # the working directory was removed
        if not sys.flags.safe_path and sys.path[0] == os.getcwd() != str(_ROOT):
            del sys.path[0]


def _passes(name: str, given: Mapping[str, str]) -> bool:
    if name.startswith(_OURS):
        return True
    if any(
        given.get(server) and name.startswith(its) for server, its in _OF_A_NAMED_SERVER.items()
    ):
        return True
    return name not in _SINGLE and not name.startswith(_TOOLS)


def _absolute(given: str) -> str:
    """Absolute paths, without empty entries, which Python reads as the working directory."""
    return os.pathsep.join(
        part if part.startswith(_NO_PATHS) else str(Path(part).absolute())
        for part in given.split(os.pathsep)
        if part
    )


def _without_loopback(given: Mapping[str, str], name: str) -> str:
    """The hosts that bypass proxies, this machine included."""
    said = given.get(name) or given.get(name.swapcase()) or ""
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    if hosts == ["*"]:
        return "*"
    return ",".join((*hosts, *(host for host in _LOOPBACK if host not in hosts)))
