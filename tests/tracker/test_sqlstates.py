"""What an error of Postgres means is read from its code, in whatever language it comes."""

import pytest
from postgres_speaker import refusing
from psycopg import errors
from sqlalchemy import make_url

from tracker.database import db, roles, schema
from tracker.database.db import BusyDatabase, Sessions, passes, transaction
from tracker.database.sqlstates import Meaning, meaning
from tracker.database.unreachable import RefusedByDatabase, UnreachableDatabase
from tracker.supervisor.ports import free


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (errors.ConnectionFailure, Meaning.AWAY),
        (errors.AdminShutdown, Meaning.AWAY),
        (errors.CannotConnectNow, Meaning.AWAY),
        (errors.DatabaseDropped, Meaning.REFUSED),
        (errors.ReadOnlySqlTransaction, Meaning.READ_ONLY),
        (errors.TooManyConnections, Meaning.BUSY),
        (errors.DiskFull, Meaning.BUSY),
        (errors.SerializationFailure, Meaning.BUSY),
        (errors.DeadlockDetected, Meaning.BUSY),
        (errors.LockNotAvailable, Meaning.BUSY),
        (errors.QueryCanceled, Meaning.BUSY),
        (errors.IdleInTransactionSessionTimeout, Meaning.BUSY),
        (errors.InvalidPassword, Meaning.REFUSED),
        (errors.InvalidAuthorizationSpecification, Meaning.REFUSED),
        (errors.InvalidCatalogName, Meaning.REFUSED),
        (errors.UniqueViolation, Meaning.REFUSED),
        (errors.SyntaxError, Meaning.REFUSED),
        (errors.InsufficientPrivilege, Meaning.FORBIDDEN),
        (errors.UndefinedTable, Meaning.UNDEFINED),
        (errors.IoError, Meaning.UNKNOWN),
        (errors.DataCorrupted, Meaning.UNKNOWN),
    ],
)
def test_classes_of_codes_and_their_exceptions(error: type[errors.Error], means: Meaning) -> None:
    assert meaning(error.sqlstate) is means


def test_no_code_is_unknown() -> None:
    assert meaning(None) is meaning("") is Meaning.UNKNOWN


def german(port: int, query: str = "") -> Sessions:
    return db.connect(f"postgresql+psycopg://ada:geheim@127.0.0.1:{port}/headbook{query}")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("28P01", "Passwort-Authentifizierung für Benutzer »ada« fehlgeschlagen"),
        ("28000", "kein pg_hba.conf-Eintrag für Host »127.0.0.1«, Benutzer »ada«"),
        ("3D000", "Datenbank »headbook« existiert nicht"),
        ("42501", "keine Berechtigung für Datenbank headbook"),
    ],
)
def test_a_login_that_is_refused_is_not_waited_for_in_german_either(
    code: str, sentence: str
) -> None:
    with refusing(code, sentence) as port:
        sessions = german(port)
        with pytest.raises(RefusedByDatabase, match=sentence[:8]):
            db.check(sessions)
        plain = f"postgresql://ada:geheim@127.0.0.1:{port}/headbook"
        with pytest.raises(RefusedByDatabase):
            roles.give_password(plain, "headbook_reader", "x")
        with pytest.raises(RefusedByDatabase):
            schema.upgrade(plain.replace("://", "+psycopg://"))
        db.close(sessions)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("57P03", "das Datenbanksystem startet"),
        ("53300", "tut mir leid, schon zu viele Verbindungen"),
        # What is refused is named in other sentences, too.
        ("57P03", 'the role "certificate" does not exist, password authentication failed'),
    ],
)
def test_a_server_that_cannot_take_a_login_yet_is_waited_for(code: str, sentence: str) -> None:
    with refusing(code, sentence) as port:
        sessions = german(port)
        outcomes = UnreachableDatabase, BusyDatabase
        with pytest.raises(outcomes) as raised, transaction(sessions) as session:
            session.connection()
        assert passes(raised.value)
        db.check(sessions)
        db.close(sessions)


@pytest.mark.parametrize("tls", [b"N", b"S"])
def test_a_server_without_the_encryption_that_is_asked_for_refuses(tls: bytes) -> None:
    with refusing("28000", "unerreichbar", tls=tls) as port:
        sessions = german(port, "?sslmode=require")
        with pytest.raises(RefusedByDatabase):
            db.check(sessions)
        db.close(sessions)


def test_a_wrong_password_and_database_are_told_by_a_server_behind_a_socket(
    database_url: str,
) -> None:
    right = make_url(database_url)
    for wrong in (right.set(password="geheim"), right.set(database="keine")):
        sessions = db.connect(wrong)
        with pytest.raises(RefusedByDatabase):
            db.check(sessions)
        db.close(sessions)


def test_where_nobody_listens_a_server_may_come() -> None:
    sessions = german(free())
    db.check(sessions)
    with pytest.raises(UnreachableDatabase), transaction(sessions) as session:
        session.connection()
    db.close(sessions)
