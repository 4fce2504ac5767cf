"""What heads attend to from the final position."""

from matplotlib.figure import Figure

from analyses.pictures.bars import stacked_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Component, Kind

METRIC = "weight"
# Disjoint groups of keys of questions; with `rest` they add up to the whole row.
GROUPS = ("correct_label", "other_labels", "brackets", "contents", "ends", "question", "last")
OF_LABELS = ("correct_label", "other_labels")  # of completions, subsets of the spans
ENDS = ("last", "rest")
SHOWN = 12


def groups(findings: Findings) -> Figure | None:
    """Attention by group of keys, of the heads that attend most to the correct label.

    If no text contains its correct label, of those that attend most to the first group, which is
    the span with the most attention.
    """
    correct = _weights(findings, "correct_label")
    if not correct:
        return None
    names = _groups(findings)
    parts = {name: _weights(findings, name) for name in names}
    ranked = correct if any(each.mean for each in correct.values()) else parts[names[0]]
    heads = sorted(ranked, key=lambda head: -ranked[head].mean)[:SHOWN]
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


def _groups(findings: Findings) -> list[str]:
    """The groups that partition the keys: of completions, the spans by descending attention."""
    keys = {str(key.quantity.varied["keys"]) for key in findings.where(Kind.HEAD, metric=METRIC)}
    if "labels" in keys:
        return [*GROUPS, "rest"]

    def attended(span: str) -> float:
        return sum(each.mean for each in _weights(findings, span).values())

    return [*sorted(keys - {*OF_LABELS, *ENDS}, key=lambda span: (-attended(span), span)), *ENDS]


def _weights(findings: Findings, keys: str) -> dict[Component, Estimate]:
    return findings.of_components(Kind.HEAD, metric=METRIC, varied={"keys": keys})
