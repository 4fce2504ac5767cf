"""Checks requests and plans their runs, together with the runs that these need."""

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
from analyses.prompts import distributions, tasks
from analyses.prompts.bounds import Bounds
from analyses.prompts.distributions import Distribution, DistributionSpec
from analyses.prompts.examples import content
from analyses.prompts.limits import Limits
from analyses.prompts.locating import places
from analyses.prompts.pairing import pairs
from analyses.prompts.places import Places
from analyses.prompts.prompt import Prompt, QuestionPrompt
from analyses.prompts.sources import Companion, Pair
from analyses.prompts.spec import Split
from analyses.prompts.tokenization import (
    TokenizedPrompt,
    splits_years_after_the_century,
    tokenize_all,
    tokenizer_of,
)
from analyses.registry import Analysis, Need, Params
from tracker.domain import Model, RunRequest
from tracker.home.home import Home
from tracker.queueing.fingerprint import run_fingerprint

MOST_NEEDS = 100  # runs that one run needs, and kinds of companion prompts
DEEPEST = 8  # levels of runs that need other runs


class RefusedNeed(Refused):
    def __init__(self, need: Need, error: Refused, *, size: int) -> None:
        own = need.distribution.size
        hint = f" A parameter of this run, such as train_prompts, asks for {own} prompts there."
        super().__init__(
            f"It needs a run of {need.analysis!r} ({need.name!r}), which cannot be queued: {error}"
            + (hint if own != size else "")
        )


class TooDeep(Refused):
    def __init__(self, analysis: str) -> None:
        super().__init__(
            f"The runs that this run needs are nested more than {DEEPEST} levels deep; the deepest "
            f"is of {analysis!r}. Check whether `needs` of its parameters is circular."
        )


def usual_split(analysis: str) -> Split:
    """The split that an analysis uses if the recipe names none. Raises `UnknownAnalysis`."""
    return registry.find(analysis).params.usual_split


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run that can be recorded; `inputs` are the runs it needs, by their names in `needs`."""

    analysis: Analysis
    params: Params
    model: Model
    distribution: Distribution
    pairs: tuple[Pair, ...]
    seed: int
    inputs: Mapping[str, "PlannedRun"]
    fingerprint: str
    warnings: tuple[str, ...]  # about prompts near the limits of the model
    needs_memory: int | None = None  # bytes, at least; None: not known, or no model is loaded
    remarks: tuple[str, ...] = ()  # sentences on how data and parameters were interpreted

    @property
    def with_inputs(self) -> Iterator["PlannedRun"]:
        """The runs that it needs, directly or indirectly, then the run itself."""
        for needed in self.inputs.values():
            yield from needed.with_inputs
        yield self


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans runs; prompts that several of them share are built and tokenized once."""

    home: Home
    roots: Sequence[Path]  # of models
    data_roots: Sequence[Path] = ()
    bounds: Bounds = field(default_factory=Bounds)
    _built: dict[DistributionSpec, Distribution] = field(default_factory=dict)
    _prompts: dict[object, "_Prompts | Refused"] = field(default_factory=dict)

    def asked(self, request: RunRequest, *, model: Model) -> PlannedRun:
        """The run of a request; without a split, on the usual split of the analysis.

        For a tokenizer that does not split years after the century, a task may have a variant.
        Raises `Refused`.
        """
        recipe = request.recipe
        remarks: list[str] = []
        if "split" not in recipe.model_fields_set:
            split = usual_split(request.analysis)
            if split != recipe.split:
                remarks.append(
                    f"The prompts are of split {split!r}, as {request.analysis} needs them."
                )
            recipe = recipe.model_copy(update={"split": split})
        if (variant := self._variant(recipe, model)) is not None:
            remarks.append(
                f"The prompts are those of {variant!r}, since the tokenizer of {model.name} "
                f"does not split years after the century."
            )
            recipe = recipe.model_copy(update={"data": variant})
        planned = self.plan(
            request.analysis,
            request.parameters,
            model=model,
            distribution=recipe,
            seed=request.seed,
        )
        return replace(planned, remarks=(*remarks, *planned.remarks))

    def _variant(self, recipe: DistributionSpec, model: Model) -> str | None:
        """The task to use in place of the recipe's, if the model's tokenizer needs another one."""
        task = tasks.TASKS.get(recipe.data)
        if task is None or task.for_split_digits is None:
            return None
        fits = splits_years_after_the_century(self._tokenizer(model))
        return None if fits else task.for_split_digits

    def _tokenizer(self, model: Model) -> Tokenizer:
        file = refs.tokenizer(
            model.ref, cache=self.home.models, expect=model.fingerprint, roots=self.roots
        )
        return tokenizer_of(file.text, file.path)

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
        """The run, with the runs that it needs. Raises `Refused`."""
        registered = registry.find(analysis)
        checked = registered.ask(lambda: _checked(registered, params, model, distribution))
        if depth > DEEPEST:
            raise TooDeep(analysis)
        built = self._distribution(distribution)
        prompts = [self._own(built, model=model)]
        companions = {
            kind: self._companions(built, kind, model=model, seed=seed)
            for kind in registered.ask(lambda: tuple(islice(checked.companions, MOST_NEEDS)))
        }
        refused = {kind: each for kind, each in companions.items() if isinstance(each, Refused)}
        if refused:
            checked = registered.ask(lambda: checked.without(refused))
        prompts += [each for each in companions.values() if not isinstance(each, Refused)]
        read = [where for each in prompts for where in each.places]
        registered.ask(lambda: checked.check_prompts(model, read))
        needs = registered.ask(lambda: tuple(islice(checked.needs(distribution), MOST_NEEDS)))
        inputs = {
            need.name: self._needed(need, distribution, model=model, seed=seed, depth=depth + 1)
            for need in needs
        }
        return PlannedRun(
            analysis=registered,
            params=checked,
            model=model,
            distribution=built,
            pairs=tuple(pair for each in prompts for pair in each.pairs),
            seed=seed,
            inputs=inputs,
            fingerprint=run_fingerprint(
                registered,
                registered.ask(lambda: checked.model_dump(mode="json")),
                model,
                distribution_hash=built.hash,
                seed=seed,
                needs=[needed.fingerprint for needed in inputs.values()],
            ),
            warnings=_limits(model).warnings([row for each in prompts for row in each.tokens]),
            needs_memory=_memory(model, prompts) if registered.needs_model else None,
            remarks=(*built.remarks, *_left_out(refused)),
        )

    def _needed(
        self, need: Need, of: DistributionSpec, *, model: Model, seed: int, depth: int
    ) -> PlannedRun:
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
            raise RefusedNeed(need, error, size=of.size) from error

    def _distribution(self, spec: DistributionSpec) -> Distribution:
        if spec not in self._built:
            self._built[spec] = distributions.build(spec, roots=self.data_roots, bounds=self.bounds)
        return self._built[spec]

    def _own(self, distribution: Distribution, *, model: Model) -> "_Prompts":
        """The prompts of the distribution, tokenized for the model. Raises `Refused`."""
        prompts = self._once(
            (distribution.spec, model.id),
            lambda: self._tokenized(distribution, (), distribution.prompts, model),
        )
        if isinstance(prompts, Refused):
            raise prompts
        return prompts

    def _companions(
        self, distribution: Distribution, kind: Companion, *, model: Model, seed: int
    ) -> "_Prompts | Refused":
        """The companion prompts of that kind, or why the model cannot have them."""

        def make() -> _Prompts:
            made = pairs(distribution, kind, seed=seed)
            return self._tokenized(distribution, made, [pair.source for pair in made], model)

        return self._once((distribution.spec, kind, model.id, seed), make)

    def _tokenized(
        self,
        distribution: Distribution,
        made: tuple[Pair, ...],
        prompts: Sequence[Prompt],
        model: Model,
    ) -> "_Prompts":
        def where(prompt: Prompt) -> str:
            item = distribution.items[prompt.number]
            return item.where or f"prompt {prompt.number} ({item.id})"

        tokenizer = self._tokenizer(model)
        _limits(model).check_texts(tokenizer, prompts)
        tokens = tokenize_all(tokenizer, prompts, where)
        _check_limits(model, tokenizer, prompts, tokens)
        return _Prompts(
            pairs=made,
            tokens=tuple(tokens),
            places=tuple(places(tokenizer, prompt) for prompt in prompts),
        )

    def _once(self, key: object, make: "Callable[[], _Prompts]") -> "_Prompts | Refused":
        if key not in self._prompts:
            try:
                self._prompts[key] = make()
            except Refused as refused:
                self._prompts[key] = refused
        return self._prompts[key]


def _checked(
    analysis: Analysis, params: Mapping[str, Any], model: Model, spec: DistributionSpec
) -> Params:
    checked = analysis.checked({**analysis.params.usual(spec), **params})
    checked.check(model, spec)
    return checked


@dataclass(frozen=True, kw_only=True)
class _Prompts:
    """Tokenized prompts, their token places, and the pairs they belong to, if any."""

    pairs: tuple[Pair, ...]
    places: tuple[Places, ...]
    tokens: tuple[TokenizedPrompt, ...]


def _memory(model: Model, prompts: Sequence[_Prompts]) -> int | None:
    """Lower bound on the bytes that a run on these prompts needs; None: not known."""
    if model.n_bytes is None:
        return None
    return least_memory(
        model.layers,
        d_model=model.d_model,
        n_bytes=model.n_bytes,
        item=ITEM[model.dtype],
        longest=max(
            (len(tokens.input_ids) for each in prompts for tokens in each.tokens), default=0
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
    """Raises `TokenBeyondEmbedding` or `PromptTooLong` if the model cannot read a prompt."""
    limits = _limits(model)
    limits.check(tokens)
    if model.n_embeddings is not None and tokenizer.get_vocab_size() > model.n_embeddings:
        for prompt in prompts:  # each option is also scored directly after the question
            if not isinstance(prompt, QuestionPrompt):
                continue
            tokenized = content(tokenizer, prompt)
            limits.check_tokens(prompt.number, [*tokenized.context, *chain(*tokenized.options)])


def _left_out(refused: Mapping[Companion, Refused]) -> list[str]:
    return [
        f"The mutation {kind.value} is left out: {why.first_line}" for kind, why in refused.items()
    ]
