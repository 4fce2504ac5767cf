"""Writes docs/reliability.md from what the tests of faults have shown.

`python -m tests.faults.report FOLDER FILE`: the folder holds the figures. Where a whole run of the
faults is not among them, the rows that were measured replace those of the page.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .figures import Figure, read
from .matrix import FAULTS, LATER, MUTATIONS

Figures = Sequence[Figure]
_MEASURED = re.compile(r"Measured at (.*), seed")

_HEAD = """# Reliability

Every queued run ends exactly once, with the numbers it would have had without faults, even if
processes are killed, frozen, cut off from the network or restarted empty. This page has the
measurements of `tests/faults/`, with real processes on one machine.
`make faults RUNS={runs} SEED={seed}` repeats them and writes this page; `ONLY=FILE` repeats the
rows of one file. `make test` includes a two-minute version.

Measured at {commits}, seed {seed}. Leases last 3 s here, to keep the tests
short. The default is 60 s, and a part of a lost worker waits longer by the difference.
"""

_NEMESIS = """## Everything breaks under load

{runs} runs, {real} of them `attribution` of `mcq-small`, of one to four parts each, were queued by
simulated users who click twice and cancel, and run by three workers, while {count} faults were
injected over {minutes} minutes. Workers and servers are real processes that are really killed,
stopped or cut off.

| of {runs} runs | |
|---|---|
| lost: never ended | {lost} |
| doubled: something of it twice | {doubled} |
| stale: written by a worker that had lost the part | {stale} |
| wrong: other numbers than without faults, bit for bit | {wrong} |
| against the rules: tables that contradict each other | {rule} |
| succeeded / cancelled / failed for three lost workers | {succeeded} / {cancelled} / {failed} |

{bound}

{kills} workers or their children were killed, {kills_of_a_part} of them while they held a part;
a kill cost at most {parts_per_kill} part. {claimed_again} of {parts} parts were claimed again
because of a fault; {refused} results were rejected because their part had been taken back. All runs
ended within {rest:.0f} s of the end of the last fault.

| until the part is claimed again, or its run has ended | times | median | 95 % | longest |
|---|---|---|---|---|
{recovery}

| fault | times |
|---|---|
{faults}
"""

_ROWS = """## One fault at a time

The row numbers are those of the project's fault matrix. In the rows M, one rule of the queue was
removed on purpose, and the checker found the damage.

| | fault | result |
|---|---|---|
{rows}
"""


def page(figures: Figures, nemesis: Figure) -> str:
    """The whole page, in Markdown."""
    parts = [
        _HEAD.format(
            runs=nemesis["asked"], seed=nemesis["seed"], commits=_commits(figures, nemesis)
        ),
        _of_nemesis(nemesis),
        _of_rows(figures),
        "```json\n" + json.dumps(headline(figures, nemesis)) + "\n```\n",
    ]
    return "\n".join(part for part in parts if part)


def _commits(figures: Figures, nemesis: Figure) -> str:
    """The commit of the nemesis, and the rows that were measured at others."""
    commit = nemesis["commit"]
    return "; ".join([f"commit `{commit}`", *_of_others(figures, commit=commit)])


def _of_others(figures: Figures, *, commit: str) -> list[str]:
    others = sorted({each["commit"] for each in figures} - {commit})
    rows = [sorted({each["row"] for each in figures if each["commit"] == one}) for one in others]
    return [
        f"row{'s' * (len(some) > 1)} {', '.join(map(_name, some))} at `{one}`"
        for one, some in zip(others, rows, strict=True)
    ]


def headline(figures: Figures, nemesis: Figure) -> dict[str, float]:
    """The figures by which two commits are compared."""
    harmed, kills = nemesis["harmed"], nemesis["recovery"]["kills"]
    return {
        "runs": nemesis["runs"],
        **{name: harmed[name] for name in ("lost", "doubled", "stale", "wrong")},
        "mutations_caught": _total(figures, "mutations_caught"),
        "crash_points": _total(figures, "crash_points"),
        **{f"recovery_{name}_s": round(kills.get(name, 0.0), 2) for name in ("p50", "p95", "max")},
    }


def _total(figures: Figures, name: str) -> int:
    return sum(each.get(name, 0) for each in figures)


def _of_nemesis(found: Figure) -> str:
    states = {"succeeded": 0, "cancelled": 0, "failed": 0} | found["states"]
    said = {
        **found,
        **found["harmed"],
        **states,
        "count": sum(found["faults"].values()),
        "minutes": f"{found['seconds'] / 60:.1f}",
        "bound": _bound(found["runs"], sum(found["harmed"].values())),
        "faults": _rows(sorted(found["faults"].items())),
        "recovery": _rows(
            (kind, each["n"], *(f"{each[name]:.1f} s" for name in ("p50", "p95", "max")))
            for kind, each in sorted(found["recovery"].items())
            if each
        ),
    }
    return _NEMESIS.format(**said)


def _bound(runs: int, harmed: int) -> str:
    if harmed:
        return f"**{harmed} runs were harmed.**"
    return (
        f"No run out of {runs} was harmed: with 95 % confidence, fewer than {300 / runs:.2f} % of "
        "runs are harmed under this load of faults."
    )


def _of_rows(figures: Figures) -> str:
    """A line for each fault of the matrix and figure of it; those without one are named."""
    shown = [
        (_name(row), each["fault"], each["figure"])
        for row in sorted({*FAULTS, *(each["row"] for each in figures)})
        for each in [one for one in figures if one["row"] == row] or _without(row)
    ]
    return _ROWS.format(rows=_rows(shown))


def _name(row: int) -> str:
    return "M" if row == MUTATIONS else str(row)


def _without(row: int) -> Figures:
    why = LATER.get(row, "not looked at by itself")
    return [{"row": row, "fault": FAULTS[row], "figure": why}]


def _rows(rows: Iterable[Sequence[object]]) -> str:
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def renewed(page: str, figures: Figures) -> str:
    """The page with the rows of these figures in place of its own, and the commits they are of."""
    measured = {int(each["row"]) for each in figures}
    lines = page.splitlines()
    at = [n for n, line in enumerate(lines) if _row_of(line) is not None]
    kept = [lines[n] for n in at if _row_of(lines[n]) not in measured]
    new = _rows((_name(each["row"]), each["fault"], each["figure"]) for each in figures)
    lines[at[0] : at[-1] + 1] = sorted(
        [*kept, *new.splitlines()], key=lambda row: _row_of(row) or 0
    )
    return _MEASURED.sub(lambda found: _renewed_commits(found[1], figures), "\n".join(lines)) + "\n"


def _renewed_commits(said: str, figures: Figures) -> str:
    new = _of_others(figures, commit="")
    subjects = {clause.partition(" at ")[0] for clause in new}
    kept = [each for each in said.split("; ") if each.partition(" at ")[0] not in subjects]
    return f"Measured at {'; '.join([*kept, *new])}, seed"


def _row_of(line: str) -> int | None:
    found = re.match(r"\| (\d+|M) \| ", line)
    return None if found is None else MUTATIONS if found[1] == "M" else int(found[1])


def main(folder: Path, file: Path) -> None:
    figures, nemesis = read(folder)
    file.write_text(page(figures, nemesis) if nemesis else renewed(file.read_text(), figures))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
