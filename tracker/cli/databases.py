"""`headbook db`: the schema of the database, and who may log in."""

import sys
from typing import Annotated

import typer

from tracker.database import roles
from tracker.database.rights import hardening
from tracker.domain import Role
from tracker.errors import TrackerError
from tracker.secrets.redaction import learn_secret
from tracker.settings.settings import Settings

LONGEST = 1000  # bytes of a password

app = typer.Typer(help="The database.", no_args_is_help=True)


class NoPassword(TrackerError):
    def __init__(self) -> None:
        super().__init__("No password was given. Type one, or pass it as the first line of stdin.")


class PasswordNotText(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The password is not valid UTF-8, or contains a NUL byte. Type it, or pass it as UTF-8."
        )


class NotHardened(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "Permission denied: this database user cannot revoke all of these rights, so nothing "
            "was changed. Run the command with the DATABASE_URL of the server's administrator, or "
            "pipe the output of `headbook db harden --print` into psql."
        )


class LongPassword(TrackerError):
    def __init__(self) -> None:
        super().__init__(f"The password is longer than {LONGEST} bytes. Choose a shorter one.")


@app.command()
def upgrade() -> None:
    """Upgrade the database to the schema of this version. Safe to run again."""
    from tracker.database import schema  # Alembic, which no other command needs

    settings = Settings()
    schema.upgrade(settings.owner_database())
    typer.echo("The database schema is up to date.")
    if not roles.harden(settings.owner_database()):
        typer.echo(
            "Readers can still slow down or block other users. The server's administrator should "
            "run the output of `headbook db harden --print` in psql once.",
            err=True,
        )


@app.command()
def harden(
    show: Annotated[
        bool, typer.Option("--print", help="Print the SQL, for psql, and change nothing.")
    ] = False,
) -> None:
    """Revoke the public rights with which one reader could block all others. Safe to run again.

    Run it as the administrator of the server, after `headbook db upgrade`.
    """
    if show:
        typer.echo(hardening.script(), nl=False)
        return
    if not roles.harden(Settings().owner_database()):
        raise NotHardened
    typer.echo("The public rights are revoked, and readers have limits.")


@app.command()
def password(
    role: Annotated[
        Role, typer.Argument(help="headbook_worker queues and runs; headbook_reader only reads.")
    ],
) -> None:
    """Let a role log in, with a password that is prompted for or read from stdin.

    Only its SCRAM verifier is sent to the server. Run it as the owner of the schema.
    """
    if sys.stdin.isatty():
        new = typer.prompt(f"Password of {role}", hide_input=True, confirmation_prompt=True)
    else:
        new = _decoded(sys.stdin.buffer.readline(LONGEST + 2))  # the line may be endless
    if not new:
        raise NoPassword
    if "\0" in new:
        raise PasswordNotText
    if len(new.encode()) > LONGEST:
        raise LongPassword
    learn_secret(new)
    roles.give_password(Settings().owner_database(), role, new)
    typer.echo(f"{role} can log in now.")


def _decoded(line: bytes) -> str:
    """The line without its line ending (LF or CRLF); spaces are part of the password."""
    try:
        return line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordNotText from None
