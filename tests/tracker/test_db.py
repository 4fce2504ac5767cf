"""What the driver raises becomes an error that says whether trying again may help."""

import socket
import subprocess
import sys

import pytest

from tracker.database import db
from tracker.database.db import passes, transaction
from tracker.database.unreachable import UnreachableDatabase


def test_a_server_that_accepts_and_never_answers_is_unreachable_for_now() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sessions = db.connect(f"postgresql+psycopg://ada:none@127.0.0.1:{port}/headbook")
        with pytest.raises(UnreachableDatabase) as caught, transaction(sessions) as session:
            session.connection()
    assert passes(caught.value)


@pytest.mark.parametrize("module", ["tracker.queueing.submission", "tracker.cli", "app.data"])
def test_who_does_not_migrate_loads_no_alembic(module: str) -> None:
    code = f"import sys, {module}; assert 'tracker.database.db' in sys.modules, sys.path"
    code += "; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
