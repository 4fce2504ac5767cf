"""What patching changes, and how much of it goes straight to the logits."""

from matplotlib.figure import Figure

from analyses.pictures.findings import Findings
from analyses.pictures.scatter import Point, scatter
from analyses.results import Kind

KINDS = {Kind.HEAD: "attention heads", Kind.MLP: "MLPs", Kind.ATTN: "attention layers"}
METRIC = "logit_diff"


def direct_total(findings: Findings) -> Figure | None:
    """Each component's direct and total effect: on the line, nothing else reacts to it."""
    groups = {name: _points(findings, kind) for kind, name in KINDS.items()}
    groups = {name: points for name, points in groups.items() if points}
    if not groups:
        return None
    return scatter(
        groups,
        xlabel=findings.said("direct_effect", METRIC),
        ylabel=findings.said("total_effect", METRIC),
    )


def _points(findings: Findings, kind: Kind) -> list[Point]:
    direct = findings.of_components(kind, metric="direct_effect", condition=METRIC)
    total = findings.of_components(kind, metric="total_effect", condition=METRIC)
    return [Point(each.label, direct[each], total[each]) for each in total if each in direct]
