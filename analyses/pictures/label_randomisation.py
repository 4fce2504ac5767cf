"""Confined heads under other labels, and what answers follow under interchange."""

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
    """What the answer follows when reads or outputs of all heads of the set are interchanged."""
    series: dict[str, dict[str, Estimate]] = {}
    for metric in FOLLOWS:
        scores = findings.where(Kind.MODEL, Kind.SET, metric=metric, varied=INTERCHANGE)
        for key, estimate in scores.items():
            series.setdefault(metric.replace("_", " "), {})[SITES[key.quantity.site]] = estimate
    if not series:
        return None
    sites = [name for name in SITES.values() if any(name in each for each in series.values())]
    return grouped_bars(series, groups=sites, xlabel="interchanged site", ylabel="share of prompts")
