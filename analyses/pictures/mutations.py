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
    order: Sequence[str] = (),
    full: str = "full model",
    confined: str = "confined",
) -> Figure | None:
    """A metric under each mutation: of the model, and beside it of its sets and of variants.

    Mutations in `order` come first; `full` and `confined` are what the scores of the model and of
    sets are called. None without any mutation.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for key, estimate in sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items()):
        varied = key.quantity.varied
        if "mutation" in varied:
            usual = confined if key.component.kind is Kind.SET else full
            series = spelled(varied.get(VARIANT, usual))
            found.setdefault(series, {})[_said(varied["mutation"])] = estimate
    if not found:
        return None
    there = dict.fromkeys(mutation for by_name in found.values() for mutation in by_name)
    first = [name for name in map(_said, order) if name in there]
    groups = list(dict.fromkeys([*first, *there]))
    return grouped_bars(
        found, groups=groups, xlabel="mutation of the prompts", ylabel=findings.said(metric)
    )


def _said(mutation: Value) -> str:
    return spelled(mutation).replace("_", "\n")
