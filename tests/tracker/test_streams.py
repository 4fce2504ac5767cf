# ruff: noqa: RUF001  these characters are what it is about
"""What is printed reaches terminals and files that cannot take every character."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.cli.streams import _replace

PRINTS = """
import sys, typer, uuid
from tracker.cli import main, app
from tracker.cli.terminal import console, print_json, print_json_line, print_table
from tracker.cli.streams import use_streams
use_streams()
said = "−1 … 2 × α·β ≤ é → “x” ━ 日 \\udce9"
typer.echo(said)
typer.echo(said, err=True)
print(said)
print_table(["a", "…"], [(said, "é" * 500)], empty="")
print_json({"said": "−1 é 日"})
print_json_line(["−1 é 日"])
"""


def printed(encoding: str) -> tuple[bytes, bytes]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding, "LANG": "C"}
    ran = subprocess.run(
        (sys.executable, "-c", PRINTS),
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("ascii", '-1 ... 2 x ?-? <= e -> "x" - ? \\udce9'),
        ("latin-1", '-1 ... 2 × ?·? <= é -> "x" - ? \\udce9'),
        ("utf-8", "−1 … 2 × α·β ≤ é → “x” ━ 日 \\udce9"),
    ],
)
def test_another_character_stands_for_one_that_cannot_be_shown_and_json_stays_exact(
    encoding: str, line: str
) -> None:
    out, err = (stream.decode(encoding) for stream in printed(encoding))
    first, second, *rest = out.split("\n")
    assert (first, second, err) == (line, line, f"{line}\n")
    document = out[out.index("{") :]
    value, end = json.JSONDecoder().raw_decode(document)
    assert value == {"said": "−1 é 日"}
    assert json.loads(document[end:]) == ["−1 é 日"]
    assert any(line[:20] in row for row in rest)  # the table


def test_a_codec_that_fails_to_read_is_none_of_our_business() -> None:
    with pytest.raises(UnicodeDecodeError):
        _replace(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"))
