"""Runs that were found possible, with all that they need, before anything is recorded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from analyses import registry
from analyses.checkpoints import refs
from analyses.errors import Refused
from analyses.prompts import distributions
from analyses.prompts.distributions import Distribution, DistributionSpec
from analyses.prompts.examples import content
from analyses.prompts.limits import Limits
from analyses.prompts.places import Places, places
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Companion, Pair, pairs
from analyses.prompts.spec import Split
from analyses.prompts.tokenization import load_tokenizer, tokenize_all
from analyses.registry import Analysis, Need, Params
from tracker.domain import Model
from tracker.fingerprint import run_fingerprint
from tracker.home import Home

MOST_SEED = 2**63
DEEPEST = 8  # runs that need each other in a row


class SeedOutOfRange(Refused):
    def __init__(self, seed: int) -> None:
        super().__init__(f"A seed is from 0 to {MOST_SEED - 1}; {seed} was given.")


class RefusedNeed(Refused):
    def __init__(self, need: Need, error: Refused) -> None:
        super().__init__(f"It needs {need.name!r}, a run of {need.analysis!r}: {error}")


class TooDeep(Refused):
    def __init__(self, analysis: str) -> None:
        super().__init__(
            f"More than {DEEPEST} runs in a row need each other, the last one of {analysis!r}. "
            "Do the needs of its parameters come back to themselves?"
        )


def usual_split(analysis: str) -> Split:
    """The split of an analysis's prompts where none is asked for; raises `UnknownAnalysis`."""
    return registry.find(analysis).params.usual_split


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that can be recorded; `inputs` are those it needs, by the name it has for each."""

    analysis: Analysis
    params: Params
    model: Model
    distribution: Distribution
    pairs: tuple[Pair, ...]
    seed: int
    inputs: Mapping[str, "PlannedRun"]
    fingerprint: str
    warnings: tuple[str, ...]  # about what the model is to read

    @property
    def with_inputs(self) -> Iterator["PlannedRun"]:
        """All that it needs, directly or not, and itself."""
        for each in self.inputs.values():
            yield from each.with_inputs
        yield self


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans runs; what several of them share is read and checked once."""

    home: Home
    roots: Sequence[Path]
    _built: dict[DistributionSpec, Distribution] = field(default_factory=dict)
    _read: dict[object, "_Prompts"] = field(default_factory=dict)

    def plan(
        self,
        analysis: str,
        params: Mapping[str, Any],
        *,
        model: Model,
        distribution: DistributionSpec,
        seed: int,
        depth: int = 0,
    ) -> PlannedRun:
        """The run that is asked for, with those it needs; raises `Refused`."""
        if not 0 <= seed < MOST_SEED:
            raise SeedOutOfRange(seed)
        found = registry.find(analysis)
        checked = found.checked(params)
        checked.check(model, distribution)
        if depth > DEEPEST:
            raise TooDeep(analysis)
        built = self._distribution(distribution)
        read = self._prompts(built, checked.companions, model=model, seed=seed)
        for where in read.places:
            checked.check_places(where)
        inputs = {
            need.name: self._needed(need, model=model, seed=seed, depth=depth + 1)
            for need in checked.needs(distribution)
        }
        return PlannedRun(
            analysis=found,
            params=checked,
            model=model,
            distribution=built,
            pairs=read.pairs,
            seed=seed,
            inputs=inputs,
            fingerprint=run_fingerprint(
                found,
                checked.model_dump(mode="json"),
                model,
                distribution_hash=built.hash,
                seed=seed,
                needs=[each.fingerprint for each in inputs.values()],
            ),
            warnings=read.warnings,
        )

    def _needed(self, need: Need, *, model: Model, seed: int, depth: int) -> PlannedRun:
        try:
            return self.plan(
                need.analysis,
                need.params,
                model=model,
                distribution=need.distribution,
                seed=seed,
                depth=depth,
            )
        except TooDeep:
            raise
        except Refused as error:
            raise RefusedNeed(need, error) from error

    def _distribution(self, spec: DistributionSpec) -> Distribution:
        if spec not in self._built:
            self._built[spec] = distributions.build(spec)
        return self._built[spec]

    def _prompts(
        self,
        distribution: Distribution,
        companions: Collection[Companion],
        *,
        model: Model,
        seed: int,
    ) -> "_Prompts":
        """The prompts beside those of the distribution; all are read as the model reads them."""
        shared = distribution.spec, tuple(companions), model.id, seed
        if shared not in self._read:
            made = tuple(
                pair for kind in companions for pair in pairs(distribution, kind, seed=seed)
            )
            prompts = [*distribution.prompts, *(pair.source for pair in made)]
            self._read[shared] = self._reading(made, prompts, model=model)
        return self._read[shared]

    def _reading(
        self, made: tuple[Pair, ...], prompts: Sequence[Prompt], *, model: Model
    ) -> "_Prompts":
        """Refuses what this model cannot read, and labels that are not one token for it."""
        path = refs.tokenizer(model.ref, cache=self.home.models, roots=self.roots)
        tokenizer = load_tokenizer(path)
        read = tokenize_all(tokenizer, prompts)
        limits = Limits(
            n_embeddings=model.n_embeddings,
            max_positions=model.max_positions,
            trained_positions=model.trained_positions,
        )
        limits.check(read)
        if model.n_embeddings is not None and tokenizer.get_vocab_size() > model.n_embeddings:
            for prompt in prompts:  # options are read after the question alone as well
                found = content(tokenizer, prompt)
                limits.check_tokens(prompt.number, [*found.context, *chain(*found.options)])
        return _Prompts(
            pairs=made,
            places=tuple(places(tokenizer, prompt) for prompt in prompts),
            warnings=limits.warnings(read),
        )


@dataclass(frozen=True, kw_only=True)
class _Prompts:
    """Pairs of a distribution, and the places of tokens in all prompts of both."""

    pairs: tuple[Pair, ...]
    places: tuple[Places, ...]
    warnings: tuple[str, ...]
