"""Lines wait for a writer: clean, bounded, and with a word about what is missing."""

from uuid import UUID

import pytest

from tracker.domain import LogLevel
from tracker.run_logs import line_buffer
from tracker.run_logs.line_buffer import LineBuffer, clean


@pytest.fixture
def buffer() -> LineBuffer:
    return LineBuffer(UUID(int=1), worker="w1")


def said(buffer: LineBuffer) -> list[str]:
    return [line.line for line in buffer.take()]


def test_a_text_becomes_lines_of_one_moment_in_their_order(buffer: LineBuffer) -> None:
    buffer.hear(LogLevel.ERROR, "Traceback:\n  here\n\nZeroDivisionError")
    buffer.hear(LogLevel.STDOUT, "then")
    lines = buffer.take()
    assert [line.line for line in lines] == ["Traceback:", "  here", "ZeroDivisionError", "then"]
    assert [line.level for line in lines] == ["error", "error", "error", "stdout"]
    assert lines[0].at == lines[2].at <= lines[3].at
    assert buffer.take() == []


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "red ]0;title"),
        ("a\x00b\udc80c\x7f", "abc"),
        ("tab\there  ", "tab\there"),
        ("https://ada:s3cret@host/x and postgresql+psycopg://a:b@c", None),
        ("é" * 5_000, "é" * 3_999 + "…"),
        ("x" * 3_991 + " http://ada:s3cret@host", "x" * 3_991 + " http://…"),
    ],
)
def test_a_line_holds_no_password_no_control_character_and_is_not_long(
    line: str, kept: str | None
) -> None:
    expected = "https://***@host/x and postgresql+psycopg://***@c" if kept is None else kept
    assert clean(line) == expected


def test_beyond_the_most_lines_one_says_where_the_rest_is_and_our_own_events_go_on(
    buffer: LineBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_buffer, "MOST_LINES", 3)
    for number in range(10):
        buffer.hear(LogLevel.STDOUT, f"{number}\n{number}")
    buffer.hear(LogLevel.ERROR, "the analysis raised", own=True)
    rest = "more than 3 lines: see the log of worker w1 for the rest"
    assert said(buffer) == ["0", "0", "1", rest, "the analysis raised"]


def test_our_own_events_are_bounded_too(
    buffer: LineBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_buffer, "MOST_OWN", 1)
    for _ in range(3):
        buffer.hear(LogLevel.WARNING, "heartbeat missed", own=True)
    assert len(said(buffer)) == 2


def test_the_oldest_lines_are_dropped_when_nobody_takes_them_and_counted(
    buffer: LineBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_buffer, "HELD", 10)
    for number in range(7):
        buffer.hear(LogLevel.STDOUT, f"line{number}")
    dropped = "5 earlier lines were dropped: the database was unreachable for too long"
    assert said(buffer) == [dropped, "line5", "line6"]
    buffer.hear(LogLevel.STDOUT, "more")
    assert said(buffer) == ["more"]
