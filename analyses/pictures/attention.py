"""Where heads look from the final position."""

from matplotlib.figure import Figure

from analyses.pictures.bars import stacked_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

METRIC = "weight"
# Groups that share no token, from the correct label on: together they are all of a row.
GROUPS = ("correct_label", "other_labels", "brackets", "contents", "ends", "question", "last")
SHOWN = 12


def groups(findings: Findings) -> Figure | None:
    """Where the heads look that look most at the correct label: the parts of their rows."""
    correct = _weights(findings, "correct_label")
    if not correct:
        return None
    heads = sorted(correct, key=lambda head: -correct[head].mean)[:SHOWN]
    parts = {name: _weights(findings, name) for name in (*GROUPS, "rest")}
    figure = stacked_bars(
        {
            name.replace("_", " "): {head.label: found[head] for head in heads if head in found}
            for name, found in parts.items()
            if found
        },
        label="mean attention weight from the final position",
        rows=[head.label for head in heads],
    )
    figure.axes[0].set_xlim(0, 1)
    return figure


def _weights(findings: Findings, keys: str) -> dict[Component, Estimate]:
    return findings.of_components(Kind.HEAD, metric=METRIC, varied={"keys": keys})
