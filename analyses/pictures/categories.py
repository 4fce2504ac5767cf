"""Heads by category, as a table."""

import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.pictures.drawing import COLOURS, WIDTH, canvas, said_n
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

Members = Mapping[Component, Estimate]

MINUS = "\N{MINUS SIGN}"  # as wide as a plus, like those of the axes
LINE = 0.17  # inches
LETTERS = 66  # of the names of heads in a line
NAMES, COUNTS, SHARES, HEADS = 0.0, 0.18, 0.26, 0.41  # where columns begin, of the width


def heads_by_category(categories: Mapping[str, Members], *, label: str) -> Figure | None:
    """A row for each category: how many heads, their share of what all have, and which they are.

    `label` names what the members' estimates are; shares are of the sum of their absolute means.
    Heads come by falling absolute mean, which stands beside each.
    """
    every = [each for members in categories.values() for each in members.values()]
    if not every:
        return None
    total = sum(abs(each.mean) for each in every) or 1.0
    rows = {name: _heads(members) for name, members in categories.items()}
    n_lines = sum(len(lines) + 0.5 for lines in rows.values()) + 2
    figure, axes = canvas(width=WIDTH, height=LINE * n_lines + 0.4)
    axes.set(xlim=(0, 1), ylim=(n_lines, 0))
    axes.set_axis_off()
    heading = (NAMES, "category"), (COUNTS, "heads"), (SHARES, "share")
    for x, text in (*heading, (HEADS, f"heads, with their mean {label}, {said_n(every)}")):
        axes.text(x, 0.5, text, fontsize=8, fontweight="bold", va="center")
    place = 1.5
    for name, lines in rows.items():
        axes.axhline(place - 0.25, color="black", linewidth=0.5)
        share = sum(abs(each.mean) for each in categories[name].values()) / total
        _row(axes, place, name, len(categories[name]), share)
        for number, line in enumerate(lines):
            axes.text(HEADS, place + 0.5 + number, line, fontsize=7, va="center")
        place += len(lines) + 0.5
    return figure


def _row(axes: Axes, place: float, name: str, count: int, share: float) -> None:
    axes.text(NAMES, place + 0.5, name.replace("_", " "), fontsize=8, va="center")
    axes.text(COUNTS + 0.03, place + 0.5, str(count), fontsize=8, va="center", ha="right")
    axes.barh(place + 0.5, 0.08 * share, left=SHARES, height=0.7, color=COLOURS[4])
    axes.text(SHARES + 0.085, place + 0.5, f"{share:.0%}", fontsize=8, va="center")


def _heads(members: Members) -> list[str]:
    ordered = sorted(members, key=lambda head: (-abs(members[head].mean), head))
    said = [f"{head.label}\u00a0({members[head].mean:.2f})".replace("-", MINUS) for head in ordered]
    return textwrap.wrap(", ".join(said), LETTERS) or ["none"]


def by_category(findings: Findings) -> Figure | None:
    """Every head that matters in its category, with its total effect."""
    effects = findings.of_components(Kind.HEAD, metric="total_effect", condition="logit_diff")
    found: dict[str, dict[Component, Estimate]] = {}
    for key, estimate in sorted(findings.where(Kind.HEAD, metric="category").items()):
        members = found.setdefault(key.condition, {})
        if estimate.mean and key.component in effects:
            members[key.component] = effects[key.component]
    return heads_by_category(found, label=findings.said("total_effect", "logit_diff"))
