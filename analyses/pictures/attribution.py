"""What writes the answer: the components with the largest shares of the logit difference."""

from matplotlib.figure import Figure

from analyses.pictures.bars import Bar, ranked_bars
from analyses.pictures.findings import Findings
from analyses.results import Kind

SHOWN = 20
GROUPS = {Kind.HEAD: "attention heads", Kind.MLP: "MLPs"}
OTHERS = "embedding and constants"


def strongest(findings: Findings) -> Figure | None:
    """The components with the largest attribution of either sign, with intervals."""
    found = findings.of_components(*Kind, metric="logit_attribution")
    if not found:
        return None
    first = sorted(found, key=lambda component: -abs(found[component].mean))[:SHOWN]
    bars = [
        Bar(
            label=component.label,
            estimate=found[component],
            group=GROUPS.get(component.kind, OTHERS),
        )
        for component in first
    ]
    label = f"mean {findings.said('logit_attribution')}"
    return ranked_bars(bars, groups=[*GROUPS.values(), OTHERS], label=label)
