"""The input of a picture: the scores of a run, and its tensors on demand."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from analyses.errors import Refused
from analyses.quantities import NOTHING, OF, VARIANT, Quantity, Value, spelled
from analyses.results import Component, Kind, NamedTensor, ScoreKey


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `n` prompts, with its 95 % interval if it has one."""

    n: int
    mean: float
    ci_low: float | None = None
    ci_high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it excludes 0."""
        return (
            self.ci_low is not None
            and self.ci_high is not None
            and not self.ci_low <= 0 <= self.ci_high
        )


EFFECT = "_effect"  # suffix of metrics that are effects on another metric, named by `of`


class NoSuchTensor(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The run has no tensor {name!r}. A plot can only use tensors that its analysis stores."
        )


def no_tensors(name: str) -> NamedTensor:
    """The default `Findings.tensor`: always raises `NoSuchTensor`."""
    raise NoSuchTensor(name)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The number of layers of the model, and of heads in each."""

    layers: int
    heads: int
    kv_heads: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of a finished run, for pictures.

    `scores` are the scores with a value; `tensor` returns a tensor by name, or raises
    `NoSuchTensor`; `units` are the units of metrics; `with_x` are the scores whose x is a
    coordinate (also if it is 0); `grid` is that of the whole model, not only of measured parts.
    """

    scores: Mapping[ScoreKey, Estimate]
    headline: Quantity | None = None  # the quantity to show first, at any site
    units: Mapping[str, str] = field(default_factory=dict)
    with_x: AbstractSet[ScoreKey] = frozenset()
    grid: Grid | None = None
    tensor: Callable[[str], NamedTensor] = no_tensors

    def where(
        self,
        *kinds: Kind,
        metric: str | None = None,
        varied: Mapping[str, Value] | None = None,
        site: str | None = None,
    ) -> dict[ScoreKey, Estimate]:
        """The scores of components of these kinds that match; None matches anything."""
        return {
            key: estimate
            for key, estimate in self.scores.items()
            if key.component.kind in kinds
            and metric in (None, key.quantity.metric)
            and varied in (None, key.quantity.varied)
            and site in (None, key.quantity.site)
        }

    def of_components(
        self, *kinds: Kind, metric: str, varied: Mapping[str, Value] = NOTHING, site: str = ""
    ) -> dict[Component, Estimate]:
        """One quantity by component; if there are several x, the smallest."""
        components: dict[Component, Estimate] = {}
        scores = self.where(*kinds, metric=metric, varied=varied, site=site)
        for key, estimate in sorted(scores.items()):
            components.setdefault(key.component, estimate)
        return components

    def axis_label(self, metric: str, varied: Mapping[str, Value] = NOTHING) -> str:
        """The axis label of a metric, with its unit: `total effect on logit diff (logits)`.

        An effect has the unit of the metric that it is on.
        """
        between = " on " if metric.endswith(EFFECT) else ", "
        name = between.join(filter(None, (metric, _varied_text(varied))))
        unit = self.units.get(metric) or self.units.get(str(varied.get(OF)), "")
        return f"{name} ({unit})".replace("_", " ") if unit else name.replace("_", " ")


def _varied_text(varied: Mapping[str, Value]) -> str:
    return ", ".join(
        spelled(value) if name in (OF, VARIANT) else f"{name} = {spelled(value)}"
        for name, value in varied.items()
    )
