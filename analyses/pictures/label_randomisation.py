"""What is left of heads' reads under other labels, and what answers follow."""

from matplotlib.figure import Figure

from analyses.pictures.bars import grouped_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.mutations import by_mutation
from analyses.results import Kind

SITES = {"": "nothing", "q": "queries", "k": "keys", "z": "outputs (control)"}
FOLLOWS = ("follows_position", "follows_symbol", "stays")
INTERCHANGE = {"of": "interchange"}


def logit_diff_by_mutation(findings: Findings) -> Figure | None:
    """The logit difference of the model, and of it with all heads of the set confined."""
    return by_mutation(findings, "logit_diff", order=("none",))


def interchange(findings: Findings) -> Figure | None:
    """What the answer follows when all heads of the set take something from the source, or none."""
    found: dict[str, dict[str, Estimate]] = {}
    for metric in FOLLOWS:
        scores = findings.where(Kind.MODEL, Kind.SET, metric=metric, varied=INTERCHANGE)
        for key, estimate in scores.items():
            found.setdefault(metric.replace("_", " "), {})[SITES[key.quantity.site]] = estimate
    if not found:
        return None
    there = [name for name in SITES.values() if any(name in each for each in found.values())]
    return grouped_bars(found, groups=there, xlabel="what is exchanged", ylabel="share of prompts")
