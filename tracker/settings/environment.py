"""The environment that this product's processes get: made, not inherited.

Variables of the tools inside, such as libpq, Celery, MLflow and Streamlit, are meant for a person's
other work with them. Here they would redirect or break connections and servers that have addresses
and settings of their own, so they are left out; all else is passed on.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tracker.secrets import secret_forms

_ROOT = Path(__file__).parents[1]  # of the packages of this product

# What belongs to the tools inside, by the beginning of its name.
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
        # An interpreter that stops, asks, warns or imports in another way.
        *("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONVERBOSE", "PYTHONDEBUG"),
        *("PYTHONOPTIMIZE", "PYTHONCASEOK", "PYTHONIOENCODING"),
        *("MATPLOTLIBRC", "MPLBACKEND"),
        # A hook of git sets them, and they name another repository than the one that is asked for.
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    )
)

# What is ours all the same, and how patiently MLflow is asked.
_OURS = ("CELERY_BROKER_URL", "MLFLOW_TRACKING_URI", "MLFLOW_HTTP_", "MLFLOW_DISABLE_TELEMETRY")
# Who one is and whom one trusts, where a person names a server that is not the embedded one.
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

# Worker and dispatcher stand in another folder than the person who names these.
_PATHS = (
    *("PYTHONPATH", "HEADBOOK_MODEL_ROOTS", "TMPDIR"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR"),
    *("PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL"),
    *("MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
)
_NO_PATHS = ("~", "system")  # of a home, and libpq's word for the certificates of the system
_ADDRESSES = ("DATABASE_URL", "CELERY_BROKER_URL", "MLFLOW_TRACKING_URI")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def made(given: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours, from that of whoever starts it."""
    kept = {name: value for name, value in given.items() if _passes(name, given)}
    return (
        kept
        | {name: _absolute(kept[name]) for name in _PATHS if name in kept}
        | {name: _without_loopback(given, name) for name in ("no_proxy", "NO_PROXY")}
        # No Python that is started from here imports from the folder where one stands.
        | {"PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    )


def without_secrets(given: Mapping[str, str]) -> dict[str, str]:
    """The same for a process that reaches no server: no password, no token, no address."""
    return {
        name: value
        for name, value in made(given).items()
        if not secret_forms.is_secret_variable(name) and name not in _ADDRESSES
    }


def adopt() -> None:
    """Make this process's own environment such a one, for its libraries and its children.

    Nor does it import from the folder where one stands, as `python -m` would have it.
    """
    own = made(os.environ)
    for name in os.environ.keys() - own.keys():
        del os.environ[name]  # libpq asks the C library, which hears of this
    os.environ.update(own)
    with suppress(FileNotFoundError):  # a folder that was removed holds no modules
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
    """Folders as they are found from anywhere, without empty parts: Python takes one for "here"."""
    return os.pathsep.join(
        part if part.startswith(_NO_PATHS) else str(Path(part).absolute())
        for part in given.split(os.pathsep)
        if part
    )


def _without_loopback(given: Mapping[str, str], name: str) -> str:
    """What no proxy is asked for, this machine included."""
    said = given.get(name) or given.get(name.swapcase()) or ""
    hosts = [host.strip() for host in said.split(",") if host.strip()]
    if hosts == ["*"]:
        return "*"
    return ",".join((*hosts, *(host for host in _LOOPBACK if host not in hosts)))
