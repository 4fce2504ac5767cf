"""The passwords of a home, generated once and stored in a file of mode 0600."""

import hmac
import json
import secrets
from dataclasses import asdict, dataclass, field

from tracker.home import own_files
from tracker.home.home import Home
from tracker.secrets.redaction import learn_secret
from tracker.supervisor.errors import DamagedFile


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """Of each Postgres role, of Valkey, of programs at MLflow, and people's sign-in token."""

    postgres: str = field(repr=False)
    headbook_worker: str = field(repr=False)
    headbook_reader: str = field(repr=False)
    mlflow: str = field(repr=False)
    valkey: str = field(repr=False)
    tracking: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def headbook_owner(self) -> str:
        """Derived from the superuser's, which grants no less, so older homes have it as well."""
        return hmac.digest(self.postgres.encode(), b"headbook_owner", "sha256").hex()[:40]


ROLES = ("postgres", "headbook_worker", "headbook_reader", "mlflow")
LATER = ("tracking", "token")  # missing in older homes


def of_home(home: Home) -> Passwords:
    """Read the passwords, generating them the first time. They are redacted from logs.

    Raises `NotReadable`, and `DamagedFile` for a corrupt file: the servers would refuse new
    passwords.
    """
    written = own_files.read_text(home.secrets_file)
    if written is None:
        made = Passwords(**{name: secrets.token_hex(20) for name in (*ROLES, "valkey", *LATER)})
        _write(home, made)
    else:
        made = _parsed(home, written)
    for secret in (*asdict(made).values(), made.headbook_owner):
        learn_secret(secret)
    return made


def _parsed(home: Home, written: str) -> Passwords:
    try:
        given = json.loads(written)
        missing = [name for name in LATER if name not in given]
        found = Passwords(**given | {name: secrets.token_hex(20) for name in missing})
    except (ValueError, TypeError):
        raise DamagedFile(home.secrets_file) from None
    if missing:
        _write(home, found)
    return found


def _write(home: Home, passwords: Passwords) -> None:
    own_files.write_text(home.secrets_file, json.dumps(asdict(passwords), indent=1))
