"""Metrics by rank, compared with placebos."""

from dataclasses import replace

from matplotlib.figure import Figure

from analyses.pictures.curves import by_rank
from analyses.pictures.findings import Findings
from analyses.results import Kind

ORDER = ("q", "k", "v", "qk", "qkv")


def logit_diff_by_rank(findings: Findings) -> Figure | None:
    """The logit difference with all heads of the set confined; None if there is no set."""
    return _by_rank(findings, "logit_diff")


def accuracy_by_rank(findings: Findings) -> Figure | None:
    """The accuracy with all heads of the set confined; None if there is no set."""
    return _by_rank(findings, "accuracy")


def _by_rank(findings: Findings, metric: str) -> Figure | None:
    """One panel per site of the set, with placebos as variants."""
    of_sets = findings.where(Kind.SET, metric=metric)
    return by_rank(replace(findings, scores=of_sets), metric, order=ORDER)
