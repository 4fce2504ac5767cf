"""The joint effect of the strongest components."""

from dataclasses import replace

from matplotlib.figure import Figure

from analyses.pictures.curves import by_count
from analyses.pictures.findings import Findings
from analyses.results import Kind

SHARES = {"80 %": 0.8, "90 %": 0.9}
SHOWN = ("logit_diff", "accuracy", "loss")


def moved_by_count(findings: Findings) -> Figure | None:
    """The share of the gap from base to source that is closed, by number of components."""
    moved = {
        key: estimate
        for key, estimate in findings.where(Kind.SET, metric="moved").items()
        if key.quantity.varied["of"] in SHOWN
    }
    return by_count(replace(findings, scores=moved), "moved", levels=SHARES)
