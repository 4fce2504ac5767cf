"""The passwords of one home, made once at random and kept in a file of mode 0600."""

import json
import secrets
from dataclasses import asdict, dataclass, field

from tracker import own_files
from tracker.home import Home
from tracker.redaction import learn_secret
from tracker.supervisor.errors import DamagedFile


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """One per Postgres role, and Valkey's."""

    postgres: str = field(repr=False)
    headbook_worker: str = field(repr=False)
    headbook_reader: str = field(repr=False)
    mlflow: str = field(repr=False)
    valkey: str = field(repr=False)


ROLES = ("postgres", "headbook_worker", "headbook_reader", "mlflow")


def of_home(home: Home) -> Passwords:
    """Read the passwords; make them the first time. No log shows them.

    Raises `NotReadable`, and `DamagedFile` for a file that does not hold them: new ones would
    open nothing.
    """
    written = own_files.read_text(home.secrets_file)
    if written is None:
        made = Passwords(**{name: secrets.token_hex(20) for name in (*ROLES, "valkey")})
        own_files.write_text(home.secrets_file, json.dumps(asdict(made), indent=1))
    else:
        made = _parsed(home, written)
    for secret in asdict(made).values():
        learn_secret(secret)
    return made


def _parsed(home: Home, written: str) -> Passwords:
    try:
        return Passwords(**json.loads(written))
    except (ValueError, TypeError):
        raise DamagedFile(home.secrets_file) from None
