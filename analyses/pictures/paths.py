"""Path effects: maps of the senders of each receiver."""

from matplotlib.figure import Figure

from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.heads import head_maps
from analyses.results import OUTPUT, Component, Kind

ON = "logit_diff"
TOGETHER = "all."  # begins the name of the reads of all receivers
MOST = 4  # maps side by side


def by_receiver(findings: Findings) -> Figure | None:
    """A map of the heads below for each read; the few reads with the largest effects."""
    maps: dict[str, dict[Component, Estimate]] = {}
    for key, estimate in findings.where(Kind.HEAD, metric="path_effect", site=OUTPUT).items():
        to = str(key.quantity.varied["to"])
        if key.quantity.varied["of"] == ON and not to.startswith(TOGETHER):
            maps.setdefault(to, {})[key.component] = estimate
    if not maps:
        return None
    largest = sorted(maps, key=lambda to: -max(abs(each.mean) for each in maps[to].values()))
    shown = {to: maps[to] for to in maps if to in largest[:MOST]}
    label = findings.axis_label("path_effect", {"of": ON})
    return head_maps(shown, label=label, grid=findings.grid)
