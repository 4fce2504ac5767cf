"""What is left of heads' reads under other labels, and what answers follow."""

from dataclasses import replace

from matplotlib.figure import Figure

from analyses.pictures.bars import grouped_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.pictures.mutations import by_mutation
from analyses.results import Kind

SITES = {"": "nothing", "q": "queries", "k": "keys", "z": "outputs (control)"}
FOLLOWS = ("follows_position", "follows_symbol", "stays")
INTERCHANGE = "interchange"


def logit_diff_by_mutation(findings: Findings) -> Figure | None:
    """The logit difference of the model, and of it with all heads of the set confined."""
    scores = findings.where(Kind.MODEL, metric="logit_diff")
    scores |= {
        replace(key, site="", condition=f"{key.condition}/confined"): found
        for key, found in findings.where(Kind.SET, metric="logit_diff").items()
    }
    return by_mutation(replace(findings, scores=scores), "logit_diff", order=("mutation=none",))


def interchange(findings: Findings) -> Figure | None:
    """What the answer follows when all heads of the set take something from the source, or none."""
    found: dict[str, dict[str, Estimate]] = {}
    for metric in FOLLOWS:
        scores = findings.where(Kind.MODEL, Kind.SET, metric=metric, condition=INTERCHANGE)
        for key, estimate in scores.items():
            found.setdefault(metric.replace("_", " "), {})[SITES[key.site]] = estimate
    if not found:
        return None
    there = [name for name in SITES.values() if any(name in each for each in found.values())]
    return grouped_bars(found, groups=there, xlabel="what is exchanged", ylabel="share of prompts")
