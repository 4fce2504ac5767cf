"""Lets roles log in to Postgres with a password; only its SCRAM verifier is sent to the server."""

import psycopg
from psycopg import errors, sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

from tracker.database.rights import hardening
from tracker.database.unreachable import not_connected
from tracker.errors import TrackerError
from tracker.secrets.urls import first_line, without_psycopg

# Roles belong to the whole server: a command for another of its databases may change the same role
# at the same time. Postgres then answers "tuple concurrently updated" (an internal error), or that
# what the command creates exists; the command as a whole is repeated.
_unless_changed_meanwhile = retry(
    retry=retry_if_exception_type(
        (errors.InternalError_, errors.DuplicateObject, errors.UniqueViolation)
    ),
    wait=wait_random(max=0.2),
    stop=stop_after_delay(10),
    reraise=True,
)


class MayNotLetIn(TrackerError):
    def __init__(self, role: str, error: psycopg.Error) -> None:
        super().__init__(
            f"This user may not set the password of {role}: {first_line(error)}. Connect as the "
            "user who created the role (who first ran `headbook db upgrade`) or as administrator."
        )


@_unless_changed_meanwhile
def give_password(database_url: str, role: str, password: str) -> None:
    """Let a role of the schema log in to the database with this password.

    Raises `MayNotLetIn`, `UnreachableDatabase` and `RefusedByDatabase`.
    """
    url = without_psycopg(database_url)
    try:
        with psycopg.connect(url, connect_timeout=5, client_encoding="utf8") as connection:
            let_in(connection, role, password)
            let_connect(connection, role, connection.info.dbname)
            hardening.remember(connection)
    except psycopg.OperationalError as error:
        raise not_connected(error, url) from error
    except errors.InsufficientPrivilege as error:
        raise MayNotLetIn(role, error) from error


@_unless_changed_meanwhile
def harden(database_url: str) -> bool:
    """Revoke the public rights that this user can revoke. True if the database is hardened now.

    Raises `UnreachableDatabase` and `RefusedByDatabase`.
    """
    url = without_psycopg(database_url)
    try:
        with psycopg.connect(
            url, autocommit=True, connect_timeout=5, client_encoding="utf8"
        ) as connection:
            hardening.harden(connection)
            return hardening.is_hardened(connection)
    except psycopg.OperationalError as error:
        raise not_connected(error, url) from error


def let_in(connection: psycopg.Connection, role: str, password: str) -> None:
    """Create the role if it is missing, and let it log in with that password."""
    name = sql.Identifier(role)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if not exists:
        connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier))
    )


def let_connect(connection: psycopg.Connection, role: str, database: str) -> None:
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            sql.Identifier(database), sql.Identifier(role)
        )
    )
