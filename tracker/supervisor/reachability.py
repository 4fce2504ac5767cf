"""Checks that the servers named in the environment answer. Messages contain no password."""

import socket
import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import unquote, urlsplit

import psycopg

from tracker.secrets import logins
from tracker.secrets.redaction import learn
from tracker.secrets.urls import first_line, without_password, without_psycopg
from tracker.supervisor.errors import Unreachable
from tracker.supervisor.options import StackOptions

SECONDS = 5
PORTS = {"amqp": 5672, "amqps": 5671, "pyamqp": 5672, "redis": 6379, "rediss": 6379}


def check(options: StackOptions) -> None:
    """Raises `Unreachable` for the first server that does not answer."""
    learn(options.database_url, options.broker_url, options.mlflow_tracking_uri)
    if options.database_url:
        check_database(options.database_url)
    if options.broker_url:
        check_broker(options.broker_url)
    if options.mlflow_tracking_uri:
        check_tracking(options.mlflow_tracking_uri)


def check_database(url: str) -> None:
    try:
        plain = without_psycopg(url)
        psycopg.connect(plain, connect_timeout=SECONDS, client_encoding="utf8").close()
    except psycopg.Error as error:
        raise Unreachable("DATABASE_URL", without_password(url), first_line(error)) from None


def check_broker(url: str) -> None:
    """Connect to each host of the URL; kombu separates them by semicolons."""
    for one in url.split(";"):
        try:
            _connect(one)
        except (OSError, ValueError) as error:
            reason = first_line(error)
            raise Unreachable("CELERY_BROKER_URL", without_password(one), reason) from None


def check_tracking(uri: str) -> None:
    """Only HTTP servers are checked: other URIs (databricks …) are left to MLflow."""
    if not uri.startswith(("http://", "https://")):
        return
    address, login = logins.apart(uri)
    asked = urllib.request.Request(
        f"{address.rstrip('/')}/health", headers=login.header if login else {}
    )
    try:
        urllib.request.urlopen(asked, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            raise _no_tracking(uri, error) from None
    except (OSError, ValueError, HTTPException) as error:
        raise _no_tracking(uri, error) from None


def _no_tracking(uri: str, error: Exception) -> Unreachable:
    return Unreachable("MLFLOW_TRACKING_URI", without_password(uri), first_line(error))


def _connect(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme.endswith("socket"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(unquote(parts.path))
    elif parts.scheme in PORTS:
        port = parts.port or PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "127.0.0.1", port), timeout=SECONDS).close()
