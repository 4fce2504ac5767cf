"""The passwords of one home, made once at random and kept in a file of mode 0600."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field

from tracker.home import Home


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
    """Read the passwords; make them the first time."""
    try:
        return Passwords(**json.loads(home.secrets_file.read_text()))
    except FileNotFoundError:
        made = Passwords(**{name: secrets.token_hex(20) for name in (*ROLES, "valkey")})
        _write(home, made)
        return made


def _write(home: Home, passwords: Passwords) -> None:
    draft = home.secrets_file.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(passwords), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(home.secrets_file)
