"""What heads attend to from the final position."""

from matplotlib.figure import Figure

from analyses.pictures.bars import stacked_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

METRIC = "weight"
# Disjoint groups of keys; with `rest` they add up to the whole row.
GROUPS = ("correct_label", "other_labels", "brackets", "contents", "ends", "question", "last")
SHOWN = 12


def groups(findings: Findings) -> Figure | None:
    """Attention by group of keys, of the heads that attend most to the correct label."""
    correct = _weights(findings, "correct_label")
    if not correct:
        return None
    heads = sorted(correct, key=lambda head: -correct[head].mean)[:SHOWN]
    parts = {name: _weights(findings, name) for name in (*GROUPS, "rest")}
    figure = stacked_bars(
        {
            name.replace("_", " "): {head.label: weights[head] for head in heads if head in weights}
            for name, weights in parts.items()
            if weights
        },
        label="mean attention weight from the final position",
        rows=[head.label for head in heads],
    )
    figure.axes[0].set_xlim(0, 1)
    return figure


def _weights(findings: Findings, keys: str) -> dict[Component, Estimate]:
    return findings.of_components(Kind.HEAD, metric=METRIC, varied={"keys": keys})
