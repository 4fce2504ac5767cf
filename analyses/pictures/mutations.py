"""What is left of a metric when a prompt distribution is changed."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analyses.pictures.bars import grouped_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.quantities import VARIANT, Value, spelled
from analyses.results import Kind


def by_mutation(
    findings: Findings,
    metric: str,
    *,
    first: Sequence[str] = (),
    of_model: str = "full model",
    of_sets: str = "confined",
) -> Figure | None:
    """A metric under each mutation: of the model, of sets of its components, and of variants.

    The mutations that are named come `first`. None without any mutation.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for key, estimate in sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items()):
        varied = key.quantity.varied
        if "mutation" in varied:
            usual = of_sets if key.component.kind is Kind.SET else of_model
            series = spelled(varied.get(VARIANT, usual))
            found.setdefault(series, {})[_said(varied["mutation"])] = estimate
    if not found:
        return None
    there = dict.fromkeys(mutation for by_name in found.values() for mutation in by_name)
    ordered = [name for name in map(_said, first) if name in there]
    groups = list(dict.fromkeys([*ordered, *there]))
    return grouped_bars(
        found, groups=groups, xlabel="mutation of the prompts", ylabel=findings.said(metric)
    )


def _said(mutation: Value) -> str:
    return spelled(mutation).replace("_", "\n")
