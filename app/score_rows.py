"""Scores grouped by metric, and as rows of tables."""

from collections.abc import Sequence
from typing import Any

from analyses.plurals import counted
from analyses.results import Kind
from analyses.shown import one_line
from tracker.results import ScoreLine


def metric_name(line: ScoreLine) -> str:
    """The quantity and coordinate of a score: all that identifies it within its component."""
    x = f"x={line.coordinate}" if line.coordinate else ""
    return one_line(" ".join(filter(None, (str(line.quantity), x))))


def by_metric(lines: Sequence[ScoreLine]) -> dict[str, list[ScoreLine]]:
    """The scores of each metric, in their given order."""
    groups: dict[str, list[ScoreLine]] = {}
    for line in lines:
        groups.setdefault(metric_name(line), []).append(line)
    return groups


def ranking(heads: Sequence[ScoreLine]) -> str:
    """The title of a ranking of these heads: highest, lowest or strongest first."""
    first = {"high": "highest", "low": "lowest"}.get(heads[0].better or "", "strongest")
    return f"The {first} of {counted(len(heads), 'head')}"


def of_kind(lines: Sequence[ScoreLine], *kinds: Kind) -> list[ScoreLine]:
    return [line for line in lines if line.component.kind in kinds]


def table(lines: Sequence[ScoreLine]) -> list[dict[str, Any]]:
    """Rows of a table: component, metric, mean, its interval and counts."""
    return [
        {
            "component": line.component.label,
            "metric": metric_name(line),
            "mean": line.mean,
            "ci_low": line.ci_low,
            "ci_high": line.ci_high,
            "sem": line.sem,
            "n": line.n,
            "skipped": line.skipped,
        }
        for line in lines
    ]
