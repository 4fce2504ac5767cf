"""`headbook db password` takes what people and files of other systems send for a password."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from tracker.cli import app
from tracker.cli.databases import NoPassword, PasswordNotText

ROLE = "headbook_reader"

# The role is that of the server, which all test workers share: one sets its password at a time.
pytestmark = pytest.mark.xdist_group("password of a role")


def sent(text: bytes, url: str) -> None:
    """Send it to the command, as a pipe does."""
    ran = CliRunner().invoke(
        app, ["db", "password", ROLE], input=text, env={"DATABASE_URL": url}, catch_exceptions=False
    )
    assert ran.output == f"{ROLE} can log in now.\n"


def enters(url: str, password: str) -> bool:
    where: dict[str, Any] = {**make_url(url).query, "dbname": make_url(url).database}
    try:
        psycopg.connect(**where, user=ROLE, password=password).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (b"a password\r\n", "a password"),  # as Windows ends a line
        (b"a password\n", "a password"),
        (b"a password", "a password"),
        (b"\xef\xbb\xbfa password\r\n", "a password"),  # and begins a file
        (b"  spaces are kept \r\nthe next line is not read", "  spaces are kept "),
        ("pä$$wörd\r\n".encode(), "pä$$wörd"),
    ],
)
def test_the_end_of_the_line_is_no_part_of_the_password(
    database_url: str, text: bytes, password: str
) -> None:
    sent(text, database_url)
    assert enters(database_url, password)
    assert not enters(database_url, password + "\r")


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n", b"\xef\xbb\xbf\r\n"])
def test_an_empty_line_is_no_password(database_url: str, text: bytes) -> None:
    with pytest.raises(NoPassword):
        sent(text, database_url)


@pytest.mark.parametrize("text", [b"p\xe4ss\r\n", b"pa\x00ss\n"])
def test_what_would_be_cut_or_changed_on_the_way_is_refused(database_url: str, text: bytes) -> None:
    """Postgres' own library takes a password up to its first zero byte."""
    with pytest.raises(PasswordNotText):
        sent(text, database_url)
