"""A metric under mutations of a prompt distribution."""

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
    """A metric under each mutation: of the model, and beside it of sets and variants.

    Mutations in `order` come first; `full` and `confined` name the series of the model and of sets.
    None if there are no mutations.
    """
    series: dict[str, dict[str, Estimate]] = {}
    for key, estimate in sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items()):
        varied = key.quantity.varied
        if "mutation" in varied:
            default = confined if key.component.kind is Kind.SET else full
            name = spelled(varied.get(VARIANT, default))
            series.setdefault(name, {})[_label(varied["mutation"])] = estimate
    if not series:
        return None
    mutations = dict.fromkeys(mutation for by_name in series.values() for mutation in by_name)
    first = [name for name in map(_label, order) if name in mutations]
    groups = list(dict.fromkeys([*first, *mutations]))
    return grouped_bars(
        series, groups=groups, xlabel="mutation of the prompts", ylabel=findings.axis_label(metric)
    )


def _label(mutation: Value) -> str:
    return spelled(mutation).replace("_", "\n")
