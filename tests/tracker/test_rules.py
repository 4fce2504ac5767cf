"""What the database itself allows of runs and parts."""

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from tracker.database.db import Sessions, transaction
from tracker.domain import TERMINAL, RunState
from tracker.domain.run_moves import MOVES
from tracker.store import runs
from tracker.tables import RunRow

from .conftest import MakeRun
from .part_work import state_of


@pytest.mark.parametrize("to", [state.value for state in RunState])
@pytest.mark.parametrize("way", [(), ("running",), ("running", "finishing")])
def test_a_run_moves_as_the_table_of_moves_says_and_no_other_way(
    sessions: Sessions, make_run: MakeRun, way: tuple[str, ...], to: str
) -> None:
    run = make_run()

    def move(state: str) -> None:
        ended = "clock_timestamp()" if RunState(state) in TERMINAL else "NULL"
        change = f"state = '{state}', reason = 'a test', finished_at = {ended}"
        with transaction(sessions) as session:
            session.execute(text(f"UPDATE headbook.run SET {change}"))

    for state in way:
        move(state)
    origin = way[-1] if way else "queued"
    if (origin, to) in MOVES or origin == to:
        move(to)
        assert state_of(sessions, run.id) == to
    else:
        with pytest.raises(DBAPIError, match="may not move"):
            move(to)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE headbook.run SET state = 'succeeded', finished_at = now()", "HB002"),
        ("UPDATE headbook.part SET epoch = -1", "HB003"),
        ("UPDATE headbook.run SET state = 'lost'", "HB002"),
        ("UPDATE headbook.run SET finished_at = now()", "23514"),
        ("UPDATE headbook.part SET worker = 'nobody'", "23514"),
    ],
)
def test_the_database_itself_refuses_illegal_moves(
    sessions: Sessions, make_run: MakeRun, change: str, code: str
) -> None:
    make_run()
    with pytest.raises(DBAPIError) as refused, transaction(sessions) as session:
        session.execute(text(change))
    assert getattr(refused.value.orig, "sqlstate", None) == code


def test_what_has_ended_stays_as_it_is(sessions: Sessions, make_run: MakeRun) -> None:
    run = make_run()
    with transaction(sessions) as session:
        runs.cancel(session, run.id)
    with pytest.raises(DBAPIError, match="has ended"), transaction(sessions) as session:
        session.execute(update(RunRow).where(RunRow.id == run.id).values(reason="changed"))
