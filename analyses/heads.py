"""The heads that an analysis measures: those named, or the strongest of a patching run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator

from analyses.errors import Refused
from analyses.prompts.sources import usual_source
from analyses.prompts.spec import DistributionSpec, Split
from analyses.quantities import Quantity
from analyses.registry import ModelFacts, Need, Params
from analyses.results import Component, Kind, Result
from analyses.stored import OF_LOGIT_DIFF

EFFECTS = "effects"  # the need that ranks heads
HeadName = Annotated[str, StringConstraints(pattern=r"^\d{1,4}\.\d{1,4}$")]


class NoSuchHead(Refused):
    def __init__(self, name: str, model: ModelFacts) -> None:
        counts = [layer.n_heads for layer in model.layers]
        heads = " or ".join(map(str, sorted(set(counts))))
        super().__init__(
            f"The model has no head {name}: it has {len(counts)} layers of {heads} heads, written "
            f"LAYER.HEAD from 0.0 to {len(counts) - 1}.{counts[-1] - 1}. Name others."
        )


class NotHeldOut(Refused):
    def __init__(self, spec: DistributionSpec) -> None:
        super().__init__(
            f"This analysis learns from one half of the data and is measured on the other, and the "
            f"prompts are of split {spec.split!r}. Take split 'test': what it learns from is drawn "
            f"from 'train'."
        )


class NoEffects(Refused):
    def __init__(self) -> None:
        super().__init__(
            "No head can be chosen by its effect: the patching run measured no prompt. Name heads, "
            "or use prompts whose answers the model knows."
        )


class NothingLearnt(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"The run that {name!r} come from measured no prompt, so nothing was learnt. Use "
            f"prompts whose answers the model knows, or all prompts, or learn from more of them."
        )


class HeadParams(Params):
    """Parameters of analyses of some heads, on prompts held out from those they learn from."""

    usual_split: ClassVar[Split] = "test"

    heads: tuple[HeadName, ...] = Field(
        (),
        max_length=512,
        title="Heads",
        description="As LAYER.HEAD, counted from 0; none: the strongest by their effect.",
    )
    strongest: int = Field(
        8,
        ge=1,
        le=512,
        title="Strongest heads",
        description="How many heads are taken where none is named: those that move the logit "
        "difference most when they are patched in the prompts that are learnt from.",
    )
    source: Literal["resample", "permute_options", "randomise_labels", "paired"] = Field(
        "permute_options",
        title="Source",
        description="Of the patches by which the strongest heads are found.",
    )
    train_prompts: int = Field(
        128,
        ge=2,
        le=4096,
        title="Prompts to learn from",
        description="Drawn from the train split.",
    )

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        return usual_source(spec)

    @field_validator("heads")
    @classmethod
    def _once(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        return once(heads)

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises `NoSuchHead`, `NotHeldOut`."""
        check_heads(self.heads, model)
        if spec.split != "test":
            raise NotHeldOut(spec)

    def learnt_from(self, spec: DistributionSpec) -> DistributionSpec:
        """The prompts to learn from, which share no set of options with those of `spec`."""
        return spec.model_copy(update={"split": "train", "size": self.train_prompts})

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        if self.heads:
            return ()
        params = {"source": self.source, "batch_size": self.batch_size, "prompts": self.prompts}
        return (
            Need(
                name=EFFECTS,
                analysis="patching",
                params=params,
                distribution=self.learnt_from(spec),
            ),
        )

    def chosen(self, inputs: Mapping[str, Result]) -> tuple[Component, ...]:
        """The named heads, or the strongest in order; raises `NoEffects`."""
        return named(self.heads) or strongest(inputs[EFFECTS])[: self.strongest]


def once(names: Sequence[str]) -> tuple[str, ...]:
    """Every head under one name, and once."""
    return tuple(f"{head.layer}.{head.index}" for head in dict.fromkeys(named(names)))


def named(names: Sequence[str]) -> tuple[Component, ...]:
    """The heads with these names, LAYER.HEAD."""
    return tuple(
        Component(kind=Kind.HEAD, layer=int(layer), index=int(head))
        for layer, _, head in (name.partition(".") for name in names)
    )


def check_heads(names: Sequence[str], model: ModelFacts) -> None:
    """Raises `NoSuchHead`."""
    for name, head in zip(names, named(names), strict=True):
        if head.layer >= len(model.layers) or head.index >= model.layers[head.layer].n_heads:
            raise NoSuchHead(name, model)


def strongest(effects: Result, metric: str = "total_effect") -> tuple[Component, ...]:
    """Heads by the size of their mean effect on the logit difference, largest first.

    Raises `NoEffects`.
    """
    of_heads = {
        key.component: mean
        for key, mean in effects.means.items()
        if key.quantity.at_any_site == Quantity(metric, varied=OF_LOGIT_DIFF)
        and key.component.kind is Kind.HEAD
    }
    if not of_heads:
        raise NoEffects
    return tuple(sorted(of_heads, key=lambda head: (-abs(of_heads[head]), head)))
