"""What a picture is drawn from: the scores of a run, and its tensors when they are asked for."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from analyses.errors import Refused
from analyses.quantities import NOTHING, OF, VARIANT, Quantity, Value, spelled
from analyses.results import Component, Kind, NamedTensor, ScoreKey


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `n` prompts, with its 95 % interval where there is one."""

    n: int
    mean: float
    ci_low: float | None = None
    ci_high: float | None = None

    @property
    def apart_from_zero(self) -> bool:
        """Whether the interval is there and leaves 0 out."""
        return (
            self.ci_low is not None
            and self.ci_high is not None
            and not self.ci_low <= 0 <= self.ci_high
        )


EFFECT = "_effect"  # how metrics end that are an effect on another, which `of` names


class NoSuchTensor(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The run has no tensor {name!r}. Draw only tensors that its analysis stores."
        )


def no_tensors(name: str) -> NamedTensor:
    """Where a run has none; raises `NoSuchTensor`."""
    raise NoSuchTensor(name)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How many layers the model has, and how many heads there are in each."""

    layers: int
    heads: int
    kv_heads: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a finished run has found, for pictures.

    `scores` are those with a value; `tensor` fetches one by its name, or raises `NoSuchTensor`;
    `units` are those of metrics, as their analysis tells them; `with_x` are the scores whose x is a
    coordinate, 0 as well; `grid` is the model's, whatever was measured of it.
    """

    scores: Mapping[ScoreKey, Estimate]
    headline: Quantity | None = None  # what to show first, at any site
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
        """The scores of components of these kinds; None means any."""
        return {
            key: found
            for key, found in self.scores.items()
            if key.component.kind in kinds
            and metric in (None, key.quantity.metric)
            and varied in (None, key.quantity.varied)
            and site in (None, key.quantity.site)
        }

    def of_components(
        self, *kinds: Kind, metric: str, varied: Mapping[str, Value] = NOTHING, site: str = ""
    ) -> dict[Component, Estimate]:
        """One quantity by component; of several x the first."""
        components: dict[Component, Estimate] = {}
        scores = self.where(*kinds, metric=metric, varied=varied, site=site)
        for key, found in sorted(scores.items()):
            components.setdefault(key.component, found)
        return components

    def said(self, metric: str, varied: Mapping[str, Value] = NOTHING) -> str:
        """A metric as an axis names it, with its unit: `total effect on logit diff (logits)`.

        An effect is on the metric that it is of, and has its unit.
        """
        between = " on " if metric.endswith(EFFECT) else ", "
        name = between.join(filter(None, (metric, _said(varied))))
        unit = self.units.get(metric) or self.units.get(str(varied.get(OF)), "")
        return f"{name} ({unit})".replace("_", " ") if unit else name.replace("_", " ")


def _said(varied: Mapping[str, Value]) -> str:
    return ", ".join(
        spelled(value) if name in (OF, VARIANT) else f"{name} = {spelled(value)}"
        for name, value in varied.items()
    )
