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
        super().__init__("No password was given. Type one, or send it as the first line of stdin.")


class PasswordNotText(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The password is not UTF-8 text, or holds a zero byte. Type it, or send it as UTF-8."
        )


class NotHardened(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "This user may not take all of it away from everybody, so nothing was changed. Run it "
            "with the DATABASE_URL of the server's administrator, or give psql what "
            "`headbook db harden --print` prints."
        )


class LongPassword(TrackerError):
    def __init__(self) -> None:
        super().__init__(f"The password has more than {LONGEST} bytes. Choose a shorter one.")


@app.command()
def upgrade() -> None:
    """Bring the database to the schema of this version. Safe to run again."""
    from tracker.database import schema  # Alembic, which no other command needs

    settings = Settings()
    schema.upgrade(settings.owner_database())
    typer.echo("The database has the schema of this version.")
    if not roles.harden(settings.owner_database()):
        typer.echo(
            "Readers may still hold up others: its administrator has to run, once, what "
            "`headbook db harden --print` prints.",
            err=True,
        )


@app.command()
def harden(
    show: Annotated[
        bool, typer.Option("--print", help="Print the SQL, for psql, and change nothing.")
    ] = False,
) -> None:
    """Take from everybody what lets one reader hold up all others. Safe to run again.

    Run it as the administrator of the server, after `headbook db upgrade`.
    """
    if show:
        typer.echo(hardening.script(), nl=False)
        return
    if not roles.harden(Settings().owner_database()):
        raise NotHardened
    typer.echo("Nothing stands open to everybody, and readers have their limits.")


@app.command()
def password(
    role: Annotated[Role, typer.Argument(help="headbook_worker works and queues; a reader reads.")],
) -> None:
    """Let a role of the schema log in, with a password that is asked for or read from stdin.

    The server gets its scram verifier only. Run it as the owner of the schema.
    """
    if sys.stdin.isatty():
        given = typer.prompt(f"Password of {role}", hide_input=True, confirmation_prompt=True)
    else:
        given = _first_line(sys.stdin.buffer.readline(LONGEST + 2))  # which may have no end
    if not given:
        raise NoPassword
    if "\0" in given:
        raise PasswordNotText
    if len(given.encode()) > LONGEST:
        raise LongPassword
    learn_secret(given)
    roles.give_password(Settings().owner_database(), role, given)
    typer.echo(f"{role} may log in.")


def _first_line(sent: bytes) -> str:
    """The line without its ending, of Windows as well; spaces belong to the password."""
    try:
        return sent.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordNotText from None
