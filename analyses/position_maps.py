"""Maps of layer × position: the effects of patching one layer's activations at one position."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyses import effects, streaming
from analyses.effects import Direction, PatchContext, PatchTarget
from analyses.errors import Refused
from analyses.plurals import counted
from analyses.prompts.completion_places import CompletionPlaces
from analyses.prompts.places import Places
from analyses.prompts.sources import Companion
from analyses.quantities import Quantity
from analyses.registry import Params
from analyses.results import MODEL, Measured, ScoreKey

if TYPE_CHECKING:
    from analyses.engine.interventions import Intervention, Value
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

EACH = "each"  # the positions of a map: every token by its name
SITES = ("resid_pre", "attn_out", "mlp_out")
METRICS = ("logit_diff", "prob_diff")  # those that a map stores effects on
MOST = 8192  # effects on one metric

Keys = Mapping[tuple[str, str], Sequence[ScoreKey]]  # of the targets, by metric and position
Structure = tuple[tuple[str, ...], ...]  # the names of a prompt's positions, and of its source's


class TooManyEffects(Refused):
    def __init__(self, layers: int, sites: int, positions: int) -> None:
        super().__init__(
            f"A position map of {counted(layers, 'layer')}, {counted(sites, 'site')} and "
            f"{counted(positions, 'position')} has {layers * sites * positions} effects, and the "
            f"maximum is {MOST}. Choose fewer sites, shorter prompts, or prompts of fewer "
            f"templates."
        )


class NoPositionMap(Refused):
    def __init__(self) -> None:
        super().__init__(
            f"The position map of positions {EACH!r} names tokens by the spans of completions, and "
            f"multiple-choice questions have none. Choose other positions, or completions as data."
        )


def check(prompts: Sequence[Places], *, layers: int, sites: int) -> None:
    """Raises `NoPositionMap` or `TooManyEffects`."""
    names = {name for places in prompts for name in named(places)}
    if layers * sites * len(names) > MOST:
        raise TooManyEffects(layers, sites, len(names))


def named(places: Places) -> Mapping[str, int]:
    """Every position of a completion, by name. Raises `NoPositionMap`."""
    if not isinstance(places, CompletionPlaces):
        raise NoPositionMap
    return places.named_positions


@dataclass(frozen=True, kw_only=True)
class PositionMap:
    """What is patched: one target at a time, at one position, whose name prompt and source share.

    Prompts that lack a position, or whose source does, are skipped for it.
    """

    targets: Sequence[PatchTarget]
    value: "Value"
    source: Companion | None  # None: the value does not come from one
    direction: Direction

    def measure(
        self,
        lm: "LanguageModel",
        prompts: "Sequence[Example]",
        params: Params,
        progress: Callable[[int], None],
    ) -> Measured:
        """The total effects, and the metrics of the base and of the source run."""
        from analyses.engine.recording import Keep

        names = dict.fromkeys(name for each in prompts for name in _shared(self._structure(each)))
        keys = {(metric, name): self._keys(metric, name) for metric in METRICS for name in names}
        return streaming.streamed(
            lm,
            prompts,
            params,
            progress,
            lambda batch: self._of_batch(lm, batch, keys),
            keep=Keep.POSITIONS,
        )

    def _keys(self, metric: str, name: str) -> list[ScoreKey]:
        varied = {"of": metric, "at": name}
        return [
            ScoreKey(component, Quantity("total_effect", site, varied))
            for component, site in self.targets
        ]

    def _structure(self, prompt: "Example") -> Structure:
        both = [prompt] if self.source is None else [prompt, prompt.companions[self.source]]
        return tuple(tuple(named(each.places)) for each in both)

    def _of_batch(self, lm: "LanguageModel", prompts: "Sequence[Example]", keys: Keys) -> Measured:
        """Prompts of one structure are replayed together, as every name is the same token in all.

        So none is replayed from an earlier token than the patched one, or for one that it lacks.
        """
        groups: dict[Structure, list[int]] = {}
        for row, prompt in enumerate(prompts):
            groups.setdefault(self._structure(prompt), []).append(row)
        pieces = [
            self._of_alike(lm, [prompts[row] for row in rows], _shared(structure), keys)
            for structure, rows in groups.items()
        ]
        back = np.argsort([row for rows in groups.values() for row in rows])
        scores = {key: each[back] for key, each in Measured.joined(pieces).scores.items()}
        return Measured(scores=scores, skipped={key: np.isnan(scores[key]) for key in scores})

    def _of_alike(
        self, lm: "LanguageModel", prompts: "Sequence[Example]", shared: Sequence[str], keys: Keys
    ) -> Measured:
        """Of prompts with one structure; NaN at positions that are not `shared`."""
        from analyses.engine.recording import Keep

        context = effects.patch_context(
            lm, prompts, self.source, self.direction, keep=Keep.POSITIONS
        )
        patched = [name for name in shared if _may_differ(context, name)]
        before = context.base_metrics()
        after, _ = context.metrics_under(
            lm, [each for name in patched for each in self._interventions(context, name)]
        )
        scores = effects.of_model(before, context.source_metrics())
        scores[effects.noop_key()] = context.noop_effect(lm, ((0,),) * len(prompts))
        own = named(prompts[0].places)
        for metric, name in keys:
            at = ScoreKey(MODEL, Quantity("position", varied={"at": name}))
            where = own[name] if name in shared else np.nan
            scores[at] = np.full(len(prompts), where, dtype=np.float32)
            rows = np.full((len(self.targets), len(prompts)), np.nan, dtype=np.float32)
            if name in patched:
                first = patched.index(name) * len(self.targets)
                rows = after[metric][first : first + len(self.targets)] - before[metric]
            elif name in shared:
                rows = np.zeros_like(rows)
            scores.update(zip(keys[metric, name], rows, strict=True))
        return Measured(scores=scores)

    def _interventions(self, context: PatchContext, name: str) -> "list[Intervention]":
        """One for each target, at the position of that name."""
        from analyses.engine.interventions import FromSource, Intervention, Patch, Site

        here = _at(context.base_prompts, name)
        value = self.value
        if isinstance(value, FromSource):
            value = FromSource(at=_at(context.source_prompts, name))
        return [
            Intervention((Patch(site=Site(site), layer=component.layer, value=value, at=here),))
            for component, site in self.targets
        ]


def _shared(structure: Structure) -> list[str]:
    """The names that both have, in the order of the prompt."""
    first, *others = structure
    return [name for name in first if all(name in each for each in others)]


def _may_differ(context: PatchContext, name: str) -> bool:
    """Whether base and source differ at a position, or before it in any prompt.

    Otherwise their activations are equal, since attention is causal, and the effect is zero.
    """
    return context.source is None or any(
        base.input_ids[: named(base.places)[name] + 1]
        != source.input_ids[: named(source.places)[name] + 1]
        for base, source in zip(context.base_prompts, context.source_prompts, strict=True)
    )


def _at(prompts: "Sequence[Example]", name: str) -> effects.At:
    return tuple((named(prompt.places)[name],) for prompt in prompts)
