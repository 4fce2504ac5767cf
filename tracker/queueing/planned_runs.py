"""Runs that were checked and can be recorded, with the runs that they need."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from analyses import registry
from analyses.checkpoints import refs
from analyses.checkpoints.sizes import ITEM, least_memory
from analyses.errors import Refused
from analyses.prompts import distributions
from analyses.prompts.bounds import Bounds
from analyses.prompts.distributions import Distribution, DistributionSpec
from analyses.prompts.examples import content
from analyses.prompts.limits import Limits
from analyses.prompts.places import Places, places
from analyses.prompts.prompt import Prompt
from analyses.prompts.sources import Companion, Pair, pairs
from analyses.prompts.spec import Split
from analyses.prompts.tokenization import TokenizedPrompt, tokenize_all, tokenizer_of
from analyses.registry import Analysis, Need, Params
from tracker.domain import Model, RunRequest
from tracker.home.home import Home
from tracker.queueing.fingerprint import run_fingerprint

MOST_NEEDS = 100  # runs that one run reads, and kinds of prompts beside its own
DEEPEST = 8  # runs that need each other in a row


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
    needs_memory: int | None = None  # bytes at the least; None: not known, or no model is loaded
    remarks: tuple[str, ...] = ()  # what was made of the data and the parameters, in sentences

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
    bounds: Bounds = field(default_factory=Bounds)
    _built: dict[DistributionSpec, Distribution] = field(default_factory=dict)
    _read: dict[object, "_Prompts | Refused"] = field(default_factory=dict)

    def asked(self, request: RunRequest, *, model: Model) -> PlannedRun:
        """The run of a request, of the analysis's usual split where none is named.

        Raises `Refused`.
        """
        recipe = request.recipe
        remarks: tuple[str, ...] = ()
        if "split" not in recipe.model_fields_set:
            split = usual_split(request.analysis)
            if split != recipe.split:
                remarks = (
                    f"The prompts are of split {split!r}, as {request.analysis} needs them.",
                )
            recipe = recipe.model_copy(update={"split": split})
        planned = self.plan(
            request.analysis,
            request.parameters,
            model=model,
            distribution=recipe,
            seed=request.seed,
        )
        return replace(planned, remarks=(*remarks, *planned.remarks))

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
        found = registry.find(analysis)
        checked = found.ask(lambda: _checked(found, params, model, distribution))
        if depth > DEEPEST:
            raise TooDeep(analysis)
        built = self._distribution(distribution)
        prompts = [self._own(built, model=model)]
        beside = {
            kind: self._beside(built, kind, model=model, seed=seed)
            for kind in found.ask(lambda: tuple(islice(checked.companions, MOST_NEEDS)))
        }
        unreadable = {kind: each for kind, each in beside.items() if isinstance(each, Refused)}
        if unreadable:
            checked = found.ask(lambda: checked.without(unreadable))
        prompts += [each for each in beside.values() if not isinstance(each, Refused)]
        found.ask(lambda: _check_places(checked, prompts))
        inputs = {
            need.name: self._needed(need, model=model, seed=seed, depth=depth + 1)
            for need in found.ask(lambda: tuple(islice(checked.needs(distribution), MOST_NEEDS)))
        }
        return PlannedRun(
            analysis=found,
            params=checked,
            model=model,
            distribution=built,
            pairs=tuple(pair for each in prompts for pair in each.pairs),
            seed=seed,
            inputs=inputs,
            fingerprint=run_fingerprint(
                found,
                found.ask(lambda: checked.model_dump(mode="json")),
                model,
                distribution_hash=built.hash,
                seed=seed,
                needs=[each.fingerprint for each in inputs.values()],
            ),
            warnings=_limits(model).warnings([each for some in prompts for each in some.tokens]),
            needs_memory=_memory(model, prompts) if found.needs_model else None,
            remarks=(*built.remarks, *_left_out(unreadable)),
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
            self._built[spec] = distributions.build(spec, bounds=self.bounds)
        return self._built[spec]

    def _own(self, distribution: Distribution, *, model: Model) -> "_Prompts":
        """The prompts of the distribution, read as the model reads them; raises `Refused`."""
        found = self._once(
            (distribution.spec, model.id),
            lambda: self._reading(distribution, (), distribution.prompts, model),
        )
        if isinstance(found, Refused):
            raise found
        return found

    def _beside(
        self, distribution: Distribution, kind: Companion, *, model: Model, seed: int
    ) -> "_Prompts | Refused":
        """The prompts beside those of the distribution, or why there are none for the model."""

        def make() -> _Prompts:
            made = pairs(distribution, kind, seed=seed)
            return self._reading(distribution, made, [pair.source for pair in made], model)

        return self._once((distribution.spec, kind, model.id, seed), make)

    def _reading(
        self,
        distribution: Distribution,
        made: tuple[Pair, ...],
        prompts: Sequence[Prompt],
        model: Model,
    ) -> "_Prompts":
        def where(prompt: Prompt) -> str:
            item = distribution.plans[prompt.number].asked.item
            return item.where or f"prompt {prompt.number} ({item.id})"

        file = refs.tokenizer(
            model.ref, cache=self.home.models, expect=model.fingerprint, roots=self.roots
        )
        tokenizer = tokenizer_of(file.text, file.path)
        tokens = tokenize_all(tokenizer, prompts, where)
        _check_limits(model, tokenizer, prompts, tokens)
        return _Prompts(
            pairs=made,
            tokens=tuple(tokens),
            places=tuple(places(tokenizer, prompt) for prompt in prompts),
        )

    def _once(self, shared: object, make: "Callable[[], _Prompts]") -> "_Prompts | Refused":
        if shared not in self._read:
            try:
                self._read[shared] = make()
            except Refused as refused:
                self._read[shared] = refused
        return self._read[shared]


def _checked(
    analysis: Analysis, params: Mapping[str, Any], model: Model, spec: DistributionSpec
) -> Params:
    checked = analysis.checked(params)
    checked.check(model, spec)
    return checked


def _check_places(params: Params, prompts: "Sequence[_Prompts]") -> None:
    for where in (place for each in prompts for place in each.places):
        params.check_places(where)


@dataclass(frozen=True, kw_only=True)
class _Prompts:
    """Prompts as a model reads them: the pairs they are of, if any, and the places of tokens."""

    pairs: tuple[Pair, ...]
    places: tuple[Places, ...]
    tokens: tuple[TokenizedPrompt, ...]


def _memory(model: Model, prompts: Sequence[_Prompts]) -> int | None:
    """Bytes that a run of the model on such prompts takes at the least; None: not known."""
    if model.n_bytes is None:
        return None
    return least_memory(
        model.layers,
        d_model=model.d_model,
        n_bytes=model.n_bytes,
        item=ITEM[model.dtype],
        longest=max(
            (len(tokens.input_ids) for some in prompts for tokens in some.tokens), default=0
        ),
    )


def _limits(model: Model) -> Limits:
    return Limits(
        n_embeddings=model.n_embeddings,
        max_positions=model.max_positions,
        trained_positions=model.trained_positions,
    )


def _check_limits(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    tokens: Sequence[TokenizedPrompt],
) -> None:
    """Raises `TokenBeyondEmbedding` and `PromptTooLong`."""
    limits = _limits(model)
    limits.check(tokens)
    if model.n_embeddings is not None and tokenizer.get_vocab_size() > model.n_embeddings:
        for prompt in prompts:  # options are read after the question alone as well
            found = content(tokenizer, prompt)
            limits.check_tokens(prompt.number, [*found.context, *chain(*found.options)])


def _left_out(unreadable: Mapping[Companion, Refused]) -> list[str]:
    return [f"The mutation {kind.value} is left out: {why}" for kind, why in unreadable.items()]
