"""The components with the largest attributions of the logit difference."""

from matplotlib.figure import Figure

from analyses.pictures.bars import Bar, ranked_bars
from analyses.pictures.findings import Findings
from analyses.results import Kind

SHOWN = 20
GROUPS = {Kind.HEAD: "attention heads", Kind.MLP: "MLPs"}
OTHERS = "embedding and constants"


def strongest(findings: Findings) -> Figure | None:
    """The components with the largest attribution of either sign, with intervals."""
    attributions = findings.of_components(*Kind, metric="logit_attribution")
    if not attributions:
        return None
    largest = sorted(attributions, key=lambda each: -abs(attributions[each].mean))[:SHOWN]
    bars = [
        Bar(
            label=component.label,
            estimate=attributions[component],
            group=GROUPS.get(component.kind, OTHERS),
        )
        for component in largest
    ]
    label = f"mean {findings.axis_label('logit_attribution')}"
    return ranked_bars(bars, groups=[*GROUPS.values(), OTHERS], label=label)
