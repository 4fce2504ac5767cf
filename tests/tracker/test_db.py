"""What the driver raises becomes an error that says whether trying again may help."""

import socket

import pytest

from tracker.database import db
from tracker.database.db import passes, transaction
from tracker.database.schema import UnreachableDatabase


def test_a_server_that_accepts_and_never_answers_is_unreachable_for_now() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sessions = db.connect(f"postgresql+psycopg://ada:none@127.0.0.1:{port}/headbook")
        with pytest.raises(UnreachableDatabase) as caught, transaction(sessions) as session:
            session.connection()
    assert passes(caught.value)
