"""Heads by category, as a table."""

import textwrap
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.pictures.drawing import COLOURS, WIDTH, canvas, n_label
from analyses.pictures.findings import Estimate, Findings
from analyses.results import OUTPUT, Component, Kind, ScoreKey

Members = Mapping[Component, Estimate]

MINUS = "\N{MINUS SIGN}"  # as wide as a plus, like those of the axes
LINE = 0.17  # inches
LETTERS = 57  # characters per line of head names
NAMES, COUNTS, SHARES, HEADS = (
    0.0,
    0.18,
    0.26,
    0.49,
)  # left edges of columns, as shares of the width
# Display names of groups without a category.
WITHOUT = {"minor": "heads of less effect", "mlps": "MLPs", "outside": "outside named ones"}


def by_category(findings: Findings) -> Figure | None:
    """A table of the important heads by category, with the importance of each category."""
    effects = findings.of_components(
        Kind.HEAD, metric="total_effect", varied={"of": "logit_diff"}, site=OUTPUT
    )
    members: dict[str, dict[Component, Estimate]] = {}
    for key, estimate in findings.where(Kind.HEAD, metric="category").items():
        of_category = members.setdefault(_category(key), {})
        if estimate.mean and key.component in effects:
            of_category[key.component] = effects[key.component]
    shares = {
        _category(key): estimate
        for key, estimate in findings.where(Kind.MODEL, metric="importance").items()
    }
    label = findings.axis_label("total_effect", {"of": "logit_diff"})
    return heads_by_category(members, shares=shares, label=label) if members else None


def _category(key: ScoreKey) -> str:
    return str(key.quantity.varied["of"])


def heads_by_category(
    categories: Mapping[str, Members], *, shares: Mapping[str, Estimate], label: str
) -> Figure:
    """A row for each category: how many heads, its share with its interval, and which they are.

    Categories come by descending share, then groups without a category. Heads are sorted by the
    absolute mean of the score named `label`, which is shown beside each head.
    """
    order = sorted(categories, key=lambda name: -shares[name].mean if name in shares else 0.0)
    rows = {name: _heads(categories[name]) for name in order}
    rows |= {name: [""] for name in shares if name not in categories}
    n_lines = sum(len(lines) + 0.5 for lines in rows.values()) + 2
    figure, axes = canvas(width=WIDTH, height=LINE * n_lines + 0.4)
    axes.set(xlim=(0, 1), ylim=(n_lines, 0))
    axes.set_axis_off()
    every = [each for members in categories.values() for each in members.values()]
    heading = (NAMES, "category"), (COUNTS, "heads"), (SHARES, "importance")
    for x, text in (*heading, (HEADS, f"heads, {label}, {n_label(every)}")):
        axes.text(x, 0.5, text, fontsize=8, fontweight="bold", va="center")
    place = 1.5
    for name, lines in rows.items():
        axes.axhline(place - 0.25, color="black", linewidth=0.5)
        count = str(len(categories[name])) if name in categories else ""
        _row(axes, place + 0.5, name, count, shares.get(name))
        for number, line in enumerate(lines):
            axes.text(HEADS, place + 0.5 + number, line, fontsize=7, va="center")
        place += len(lines) + 0.5
    return figure


def _row(axes: Axes, y: float, name: str, count: str, share: Estimate | None) -> None:
    axes.text(NAMES, y, WITHOUT.get(name, name).replace("_", " "), fontsize=8, va="center")
    axes.text(COUNTS + 0.03, y, count, fontsize=8, va="center", ha="right")
    if share is None:
        return
    axes.barh(y, 0.06 * share.mean, left=SHARES, height=0.7, color=COLOURS[4])
    text = f"{share.mean:.0%}"
    if share.ci_low is not None and share.ci_high is not None:
        text += f" ({share.ci_low:.0%} to {share.ci_high:.0%})"
    axes.text(SHARES + 0.065, y, text, fontsize=7, va="center")


def _heads(members: Members) -> list[str]:
    ordered = sorted(members, key=lambda head: (-abs(members[head].mean), head))
    names = [
        f"{head.label}\u00a0({members[head].mean:.2f})".replace("-", MINUS) for head in ordered
    ]
    return textwrap.wrap(", ".join(names), LETTERS) or [""]
