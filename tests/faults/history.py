"""What happened, kept as files when an invariant did not hold: for whoever looks for the cause."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tracker.database.db import transaction

from .nemesis import Nemesis
from .world import World

_TABLES = ("headbook.run_event", "headbook.run", "headbook.part", "headbook.publication")
_AUDIT = ("faults.move", "faults.written")


@contextmanager
def kept_on_failure(world: World, nemesis: Nemesis, *, seed: int) -> Iterator[None]:
    """When the block raises: faults, events, tables and logs as files, in a folder it names."""
    try:
        yield
    except BaseException as error:
        folder = Path(tempfile.mkdtemp(prefix=f"headbook-nemesis-{seed}-"))
        error.add_note(f"seed {seed}; what happened is kept in {folder}")
        (folder / "why.txt").write_text(str(error))
        world.heal()
        keep(world, nemesis, folder)
        raise


def keep(world: World, nemesis: Nemesis, folder: Path) -> None:
    """Write down what was broken when, what every process said, and all tables of the queue."""
    folder.mkdir(exist_ok=True)
    _write(folder / "faults.jsonl", nemesis.history)
    shutil.copytree(world.home.logs, folder / "logs", dirs_exist_ok=True)
    for table in (*_TABLES, *_AUDIT):
        _dump(world, table, folder)


def _write(file: Path, lines: Sequence[object]) -> None:
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))


def _dump(world: World, table: str, folder: Path) -> None:
    with transaction(world.sessions) as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} TO STDOUT (FORMAT csv, HEADER)") as rows,
            (folder / f"{table}.csv").open("wb") as file,
        ):
            for piece in rows:
                file.write(piece)
