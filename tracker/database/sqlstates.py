"""What Postgres' error codes mean for who asked: the code decides, never the sentence beside it.

The classes are those of the manual's Appendix A.
"""

from enum import StrEnum


class Meaning(StrEnum):
    """What becomes of the same request a little later."""

    AWAY = "away"  # the server is gone, going or coming: another connection may reach one
    BUSY = "busy"  # it is there and cannot do it now: the same connection may go on
    READ_ONLY = "read only"  # this connection leads to a server that may only be read
    UNDEFINED = "undefined"  # no such schema, table or column: a migration may be on its way
    FORBIDDEN = "forbidden"  # this user may not do it
    REFUSED = "refused"  # the request or the login is wrong, however often it comes
    UNKNOWN = "unknown"  # worth another try, and not many


WRONG_PASSWORD = "28P01"

# The longest beginning of a code counts.
_MEANINGS = {
    "08": Meaning.AWAY,  # connection exceptions
    "22": Meaning.REFUSED,  # data exceptions
    "23": Meaning.REFUSED,  # constraints
    "25006": Meaning.READ_ONLY,  # a standby, or a server that has handed over
    "25P03": Meaning.BUSY,  # idle in a transaction for too long
    "25P04": Meaning.BUSY,  # a transaction that took too long
    "28": Meaning.REFUSED,  # password, pg_hba.conf, a role that may not log in
    "3D": Meaning.REFUSED,  # no such database
    "3F000": Meaning.UNDEFINED,
    "40": Meaning.BUSY,  # serialization, deadlocks, statements whose end is unknown
    "42": Meaning.REFUSED,  # syntax and names
    "42501": Meaning.FORBIDDEN,
    "42703": Meaning.UNDEFINED,
    "42P01": Meaning.UNDEFINED,
    "53": Meaning.BUSY,  # no memory, no disk, no connection left
    "54": Meaning.REFUSED,  # beyond a limit of the program
    "55006": Meaning.BUSY,  # in use by others
    "55P03": Meaning.BUSY,  # a lock that was waited for too long
    "57014": Meaning.BUSY,  # cancelled by a limit of time
    "57P": Meaning.AWAY,  # shut down, starting up
    "57P04": Meaning.REFUSED,  # the database was dropped
    "HB": Meaning.REFUSED,  # rules of our own schema, which no move may break
}


def meaning(sqlstate: str | None) -> Meaning:
    """What a code says; `UNKNOWN` for those that no line is about, and where there is none."""
    code = sqlstate or ""
    beginnings = (code[:length] for length in range(len(code), 1, -1))
    return next((_MEANINGS[each] for each in beginnings if each in _MEANINGS), Meaning.UNKNOWN)
