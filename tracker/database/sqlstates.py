"""Classifies errors of Postgres by SQLSTATE, never by the message, which may be translated.

The classes are those of Appendix A of the manual.
"""

from enum import StrEnum


class Meaning(StrEnum):
    """What an error says about retrying the same request."""

    AWAY = "away"  # the server is down, stopping or starting: retry on another connection
    BUSY = "busy"  # it is running but cannot do it now: retry on the same connection
    READ_ONLY = "read only"  # this connection leads to a read-only server
    UNDEFINED = "undefined"  # no such schema, table or column: a migration may be in progress
    FORBIDDEN = "forbidden"  # permission denied
    REFUSED = "refused"  # the request or the login is wrong: a retry will not help
    UNKNOWN = "unknown"  # retry a few times


WRONG_PASSWORD = "28P01"

# The longest matching prefix of a code decides.
_MEANINGS = {
    "08": Meaning.AWAY,  # connection exceptions
    "22": Meaning.REFUSED,  # data exceptions
    "23": Meaning.REFUSED,  # constraints
    "25006": Meaning.READ_ONLY,  # a standby, or a former primary
    "25P03": Meaning.BUSY,  # idle in a transaction for too long
    "25P04": Meaning.BUSY,  # a transaction that took too long
    "28": Meaning.REFUSED,  # password, pg_hba.conf, a role that may not log in
    "3D": Meaning.REFUSED,  # no such database
    "3F000": Meaning.UNDEFINED,
    "40": Meaning.BUSY,  # serialization failures, deadlocks, unknown outcomes
    "42": Meaning.REFUSED,  # syntax and names
    "42501": Meaning.FORBIDDEN,
    "42703": Meaning.UNDEFINED,
    "42P01": Meaning.UNDEFINED,
    "53": Meaning.BUSY,  # no memory, no disk, no connection left
    "54": Meaning.REFUSED,  # program limits
    "55006": Meaning.BUSY,  # in use by others
    "55P03": Meaning.BUSY,  # lock timeout
    "57014": Meaning.BUSY,  # statement timeout
    "57P": Meaning.AWAY,  # shut down, starting up
    "57P04": Meaning.REFUSED,  # the database was dropped
    "HB": Meaning.REFUSED,  # raised by our own triggers, such as for illegal state changes
}


def meaning(sqlstate: str | None) -> Meaning:
    """The meaning of a code; `UNKNOWN` for an unlisted code and for None."""
    code = sqlstate or ""
    prefixes = (code[:length] for length in range(len(code), 1, -1))
    return next((_MEANINGS[prefix] for prefix in prefixes if prefix in _MEANINGS), Meaning.UNKNOWN)
