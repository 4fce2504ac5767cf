"""Errors for failed connections: the server is unreachable, or it rejects the login."""

from psycopg.errors import ConnectionTimeout

from tracker.database.login_codes import greeting
from tracker.database.sqlstates import Meaning, meaning
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line


class UnreachableDatabase(TrackerError):
    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"The database cannot be reached: {first_line(error)}. "
            "Check DATABASE_URL, or start the embedded stack with `headbook up`."
        )


class RefusedByDatabase(TrackerError):
    """The server answers and rejects the login: a retry will not help."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"The database rejected the login: {first_line(error)}. Check the user, the password, "
            "the database and the sslmode of DATABASE_URL."
        )


def not_connected(error: BaseException, conninfo: str) -> RefusedByDatabase | UnreachableDatabase:
    """The error for a failed connection, which the driver describes only in a sentence."""
    if isinstance(error, ConnectionTimeout):  # no answer: do not connect once more
        return UnreachableDatabase(error)
    answer = greeting(conninfo)
    refused = meaning(answer.sqlstate) in (Meaning.REFUSED, Meaning.FORBIDDEN)
    return RefusedByDatabase(error) if refused or answer.without_tls else UnreachableDatabase(error)
