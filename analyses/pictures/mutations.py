"""What is left of a metric when a prompt distribution is changed."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from analyses.pictures.bars import grouped_bars
from analyses.pictures.findings import Estimate, Findings
from analyses.results import Kind

MUTATION = "mutation="


def by_mutation(
    findings: Findings, metric: str, *, order: Sequence[str] = (), full: str = "full model"
) -> Figure | None:
    """A metric under each `mutation=NAME`, beside its variants such as `mutation=NAME/confined`.

    Mutations in `order` come first; `full` is what the score without a variant is called. None
    without any mutation.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for key, estimate in sorted(findings.where(Kind.MODEL, Kind.SET, metric=metric).items()):
        name, _, variant = key.condition.partition("/")
        if name.startswith(MUTATION):
            found.setdefault(variant or full, {})[_said(name)] = estimate
    if not found:
        return None
    there = dict.fromkeys(mutation for by_name in found.values() for mutation in by_name)
    first = [name for name in map(_said, order) if name in there]
    groups = list(dict.fromkeys([*first, *there]))
    return grouped_bars(
        found, groups=groups, xlabel="mutation of the prompts", ylabel=findings.said(metric)
    )


def _said(name: str) -> str:
    return name.removeprefix(MUTATION).replace("_", "\n")
