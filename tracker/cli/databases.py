"""`headbook db`: the schema of the database, and who may log in."""

import sys
from typing import Annotated

import typer

from tracker import roles, schema
from tracker.domain import Role
from tracker.errors import TrackerError
from tracker.redaction import learn_secret
from tracker.settings import Settings

app = typer.Typer(help="The database.", no_args_is_help=True)


class NoPassword(TrackerError):
    def __init__(self) -> None:
        super().__init__("No password was given. Type one, or send it as the first line of stdin.")


class PasswordNotText(TrackerError):
    def __init__(self) -> None:
        super().__init__(
            "The password is not UTF-8 text, or holds a zero byte. Type it, or send it as UTF-8."
        )


@app.command()
def upgrade() -> None:
    """Bring the database to the schema of this version. Safe to run again."""
    settings = Settings()
    schema.upgrade(settings.owner_database())
    typer.echo("The database has the schema of this version.")


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
        given = _first_line(sys.stdin.buffer.readline())
    if not given:
        raise NoPassword
    if "\0" in given:
        raise PasswordNotText
    learn_secret(given)
    roles.give_password(Settings().owner_database(), role, given)
    typer.echo(f"{role} may log in.")


def _first_line(sent: bytes) -> str:
    """The line without its ending, of Windows as well; spaces belong to the password."""
    try:
        return sent.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordNotText from None
