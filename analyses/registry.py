"""The registered analyses. Importing this, or a module that registers one, never imports torch.

Built-in analyses are imported directly; those of other packages after a trial import succeeded.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, reduce
from importlib import import_module
from inspect import cleandoc
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyses.checkpoints.shapes import LayerShape
from analyses.errors import Refused, did_you_mean, mistakes, shown
from analyses.pictures.plots import Plot, check_names
from analyses.plugins import answers, calls, definition
from analyses.plugins.discovery import Broken, Plugin
from analyses.plugins.loading import PluginAnalyses
from analyses.prompts.places import Places
from analyses.prompts.sources import Companion
from analyses.prompts.spec import DistributionSpec, Split
from analyses.quantities import Quantity
from analyses.results import Derived, Measured, ScoreKey
from analyses.stored import ScoreDescription, TensorDescription

ENGINE_VERSION = 2  # incremented when a change to the engine changes the numbers of analyses
METHODS = "analyses.methods"  # the package of the built-in analyses

Value = TypeVar("Value")


class ModelFacts(Protocol):
    """What is known about a model before it is loaded."""

    @property
    def layers(self) -> Sequence[LayerShape]: ...


@dataclass(frozen=True, kw_only=True)
class Need:
    """A run of the same model whose result an analysis reads; it is queued if it does not exist.

    `name` is the key of its result in `inputs`.
    """

    name: str
    analysis: str
    params: Mapping[str, Any]
    distribution: DistributionSpec


class Params(BaseModel):
    """The parameters of an analysis; fields have a title, a description, bounds and a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(
        8,
        ge=1,
        le=256,
        title="Batch size",
        description="Prompts per forward pass. Batches are formed by prompt number, so splitting a "
        "run into parts changes no number; another batch size changes logits by about 1e-5.",
    )

    prompts: Literal["all", "known"] = Field(
        "all",
        title="Prompts",
        description="All prompts, or only those whose answer the model knows: the correct option's "
        "text is the likeliest after the question alone; of completions, a correct candidate is "
        "the likeliest. The others are counted as skipped.",
    )

    # The default split of prompts: 'test' for an analysis that learns from 'train'.
    usual_split: ClassVar[Split] = "all"

    @classmethod
    def usual(cls, spec: DistributionSpec) -> Mapping[str, Any]:
        """Values of parameters that a request leaves out, where they depend on the prompts.

        A source that fits completions, for example. Other parameters take their defaults.
        """
        return {}

    @property
    def companions(self) -> tuple[Companion, ...]:
        """The kinds of companion prompts that the analysis needs for each of its prompts."""
        return ()

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The runs that must succeed first, given the recipe of the prompts."""
        return ()

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises a `Refused` if these parameters cannot run on that model and such prompts."""

    def without(self, unreadable: Mapping[Companion, Refused]) -> Self:
        """The same parameters without companions that the model's tokenizer cannot encode.

        Raises the first error if the analysis cannot do without them.
        """
        raise next(iter(unreadable.values()))

    def check_places(self, places: Places) -> None:
        """Raises a `Refused` if a prompt lacks a token that the analysis reads."""

    def check_prompts(self, model: ModelFacts, prompts: Sequence[Places]) -> None:
        """Raises a `Refused` if some of the prompts and their companions cannot be measured."""
        for places in prompts:
            self.check_places(places)


class Measure(Protocol):
    """Measures some prompts: `(lm, prompts, params, progress)`; see `analysis`."""

    __name__: str

    def __call__(self, *arguments: Any, **inputs: Any) -> Measured: ...


# Mean scores of a whole run, parameters -> summary numbers. They get intervals: the function is
# also called with the means of every resample.
Summarise = Callable[[Mapping[ScoreKey, float], Any], Mapping[ScoreKey, float]]

# Everything that the parts measured, parameters -> results that need all prompts together.
Derive = Callable[[Measured, Any], Derived]

# Means and numbers of a whole run, parameters -> warnings for readers, one sentence each.
Warns = Callable[[Mapping[ScoreKey, float], Any], Sequence[str]]

# The scores of a run -> new scores: key -> (numerator, denominator), ratios of their means.
Ratios = Callable[[Sequence[ScoreKey]], Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]]


def no_ratios(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """The default `ratios`: none."""
    return {}


def no_warning(means: Mapping[ScoreKey, float], params: Any) -> Sequence[str]:
    """The default `warns`: no warnings."""
    return ()


def every_score(key: ScoreKey) -> bool:
    """The default `summarised`: a summary reads every score."""
    return True


def no_summary(means: Mapping[ScoreKey, float], params: Any) -> Mapping[ScoreKey, float]:
    """The default `summarise`: no summary numbers."""
    return {}


def nothing_more(measured: Measured, params: Any) -> Derived:
    """The default `derive`: nothing needs all prompts together."""
    return Derived()


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A registered method. `function` is an import string; only workers resolve it."""

    name: str
    version: int  # incremented whenever the numbers change
    params: type[Params]
    function: str
    summary: str
    description: str  # the rest of the function's docstring
    conventions: Mapping[str, str]
    summarise: Summarise
    summarised: Callable[[ScoreKey], bool]  # which scores `summarise` reads
    ratios: Ratios
    derive: Derive
    warns: Warns
    headline: Quantity | None  # the quantity that the map of heads shows, at any site
    stores: Sequence[ScoreDescription]
    arrays: Sequence[TensorDescription]
    plots: Mapping[str, Plot | str]
    reference: str
    needs_model: bool = True  # False: it only reads the results of other runs
    origin: str = ""  # the package that provides it, with its version; empty if built in

    def ask(self, call: Callable[[], Value]) -> Value:
        """Call a function that runs code of the analysis, such as that of its parameters.

        Code of a plugin is isolated from the caller. Raises `Refused` if it fails.
        """
        return calls.answer(self.name, self.origin, call) if self.origin else call()

    def checked(self, values: Mapping[str, Any]) -> Params:
        """Validated parameters; raises `InvalidParams` if `values` do not fit the model."""
        try:
            return self.params.model_validate(values)
        except ValidationError as error:
            raise InvalidParams(self, error) from None

    @property
    def defaults(self) -> dict[str, Any]:
        """The optional parameters with their default values, as a run stores them."""
        fields = self.params.model_fields
        optional = {name for name, field in fields.items() if not field.is_required()}
        return self.params.model_construct().model_dump(mode="json", include=optional)

    @property
    def units(self) -> dict[str, str]:
        """The unit of each metric that has one."""
        return {stored.metric: stored.unit for stored in self.stores if stored.unit}

    def is_proportion(self, key: ScoreKey) -> bool:
        """Whether the score of each prompt is 1 or 0, or a share of a tie."""
        return any(
            stored.proportion and stored.metric == key.quantity.metric and key in stored
            for stored in self.stores
        )

    def measure(self) -> Measure:
        """Import and return the function; loads torch."""
        module, _, name = self.function.partition(":")
        function: Measure = getattr(import_module(module), name)
        return answers.measuring(function) if self.origin else function


class UnknownAnalysis(Refused):
    def __init__(self, name: str, known: Sequence[str], broken: Sequence[Broken] = ()) -> None:
        message = (
            f"No analysis named {shown(name)}.{did_you_mean(name, known)} "
            f"Known analyses: {', '.join(known) or 'none'}."
        )
        super().__init__(" ".join([message, *map(str, broken[:_MAX_NAMED])]))


class DuplicateAnalysis(Refused):
    def __init__(self, new: Analysis, old: Analysis) -> None:
        super().__init__(
            f"Two analyses are named {new.name!r}: {old.function} and {new.function}. "
            "Rename one of them."
        )


class BrokenPlugin(Refused):
    def __init__(self, name: str, broken: Sequence[Broken]) -> None:
        super().__init__(f"Analysis {name!r} is not available. {' '.join(map(str, broken))}")


class InvalidParams(Refused):
    def __init__(self, analysis: Analysis, error: ValidationError) -> None:
        problems = mistakes(error, "params")
        fields = ", ".join(analysis.params.model_fields) or "none"
        super().__init__(
            f"Parameters of {analysis.name!r}: {problems}. Its parameters are: {fields}."
        )


_MAX_NAMED = 3  # broken plugins that one message lists

_ANALYSES: dict[str, Analysis] = {}  # built-in, and those that a program registers itself
_BROUGHT: ContextVar[dict[str, Analysis] | None] = ContextVar("brought", default=None)


def registered() -> dict[str, Analysis]:
    """The analyses that `analysis` adds to in the current context."""
    brought = _BROUGHT.get()
    return _ANALYSES if brought is None else brought


def analysis(
    name: str,
    version: int,
    *,
    params: type[Params],
    conventions: Mapping[str, str] | None = None,
    summarise: Summarise = no_summary,
    summarised: Callable[[ScoreKey], bool] = every_score,
    ratios: Ratios = no_ratios,
    derive: Derive = nothing_more,
    warns: Warns = no_warning,
    headline: Quantity | None = None,
    stores: Sequence[ScoreDescription] = (),
    arrays: Sequence[TensorDescription] = (),
    plots: Mapping[str, Plot | str] | None = None,
    reference: str = "",
    needs_model: bool = True,
) -> Callable[[Measure], Measure]:
    """Register the decorated function as an analysis. Its docstring's first line is the summary.

    The function measures some prompts of a run. It takes the language model, `Example`s, the
    parameters, and `progress`, which it calls with the number of finished prompts and which may
    raise to stop it. If the parameters have `needs`, it also takes the keyword argument `inputs`:
    the `Result` of each need by its name. Every score and tensor must have a finite number for
    every prompt or mark the prompt in `skipped` (of a tensor, `missing`); any other NaN fails the
    run. The module must be importable without torch: import torch inside functions.

    Args:
        name: Unique among all analyses.
        version: Increment it whenever the numbers change.
        params: The model of the parameters.
        conventions: The choices that the numbers depend on; stored with every run.
        summarise: Computes summary numbers from the mean scores of a run.
        summarised: Which scores `summarise` reads.
        ratios: Scores that are ratios of the means of two others.
        derive: Computes results that need all prompts together.
        warns: Returns warnings for readers of a run.
        headline: The quantity of the map of heads, without a site: it applies at every site.
        stores: The meaning of each metric.
        arrays: The meaning of each tensor.
        plots: By file name, functions that take the run's `Findings` and return a matplotlib
            figure or None, or import strings of such functions. The map of the headline is always
            drawn.
        reference: The publication of the method.
        needs_model: If False, a worker loads no model; the function gets None in place of the
            language model and `Prompt`s, and reads its `inputs`.

    A module of another package is first imported in a separate process. The import must return
    within 20 seconds (`HEADBOOK_PLUGIN_SECONDS`) and leave no thread or process running. Its output
    is discarded, and changes to the process (working directory, environment, random state) are
    undone.

    Raises `BadDefinition` if a definition is invalid, `BadPlotName` if a plot cannot be a file
    name, and `DuplicateAnalysis` if the name is taken.
    """

    def register(function: Measure) -> Measure:
        check_names(name, plots or {})
        summary, _, description = cleandoc(function.__doc__ or "").partition("\n")
        qualified = f"{function.__module__}:{function.__name__}"
        new = Analysis(
            name=name,
            version=version,
            params=params,
            function=qualified,
            summary=summary,
            description=description.strip(),
            conventions=conventions or {},
            summarise=summarise,
            summarised=summarised,
            ratios=ratios,
            derive=derive,
            warns=warns,
            headline=headline,
            stores=tuple(stores),
            arrays=tuple(arrays),
            plots=plots or {},
            reference=reference,
            needs_model=needs_model,
        )
        definition.check(new, Params)
        old = registered().get(name) or _ANALYSES.get(name)
        if old is not None and old.function != qualified:
            raise DuplicateAnalysis(new, old)
        registered()[name] = new
        return function

    return register


@cache
def own() -> None:
    """Import the modules that register the built-in analyses."""
    path = import_module(METHODS).__path__
    for module in iter_modules(path, f"{METHODS}."):
        import_module(module.name)


def shipped() -> list[Analysis]:
    """The built-in analyses, sorted by name; plugins are not imported."""
    own()
    ours = (each for each in _ANALYSES.values() if each.function.startswith(f"{METHODS}."))
    return sorted(ours, key=lambda each: each.name)


def imported(plugin: Plugin) -> dict[str, Analysis]:
    """The analyses that a plugin's module registers, by name.

    Raises whatever the import raises, and `Refused` if a definition is invalid.
    """
    own()
    brought: dict[str, Analysis] = {}
    before = _BROUGHT.set(brought)
    try:
        reduce(getattr, plugin.attributes, import_module(plugin.module))
    finally:
        _BROUGHT.reset(before)
    for each in brought.values():
        each.params.model_json_schema()
        with suppress(InvalidParams):  # some parameters may have no default
            each.checked(each.defaults)
    return brought


def _as_brought(analysis: Analysis, plugin: Plugin) -> Analysis:
    """The analysis marked as a plugin's: the return values of its functions are checked."""
    return replace(
        analysis,
        origin=plugin.distribution,
        summarise=answers.summarising(analysis.summarise),
        ratios=answers.ratios(analysis.ratios),
        derive=answers.deriving(analysis.derive),
        warns=answers.warning(analysis.warns),
        plots={name: answers.drawing(each) for name, each in analysis.plots.items()},
    )


_PLUGINS = PluginAnalyses(imported, _as_brought)


def all_analyses() -> list[Analysis]:
    """Every usable analysis, built-in or of an installed plugin, sorted by name."""
    own()
    names = (
        _PLUGINS.names if _BROUGHT.get() is None else []
    )  # a plugin being imported sees no other plugins
    brought = [_PLUGINS.find(name) for name in names if name not in _ANALYSES]
    every = [*_ANALYSES.values(), *(each for each in brought if each is not None)]
    return sorted(every, key=lambda each: each.name)


def broken() -> list[Broken]:
    """The plugins that are not used, sorted by name, each with the reason."""
    return _PLUGINS.broken if _BROUGHT.get() is None else []


def find(name: str) -> Analysis:
    """The analysis with this name.

    Plugins are imported only if no built-in analysis has the name. Raises `UnknownAnalysis` if
    there is none, and `BrokenPlugin` if its plugin is not used.
    """
    own()
    if name in _ANALYSES:
        return _ANALYSES[name]
    if _BROUGHT.get() is not None:
        raise UnknownAnalysis(name, sorted(_ANALYSES))
    if (found := _PLUGINS.find(name)) is not None:
        return found
    known = sorted({*_ANALYSES, *_PLUGINS.names})
    matching = [each for each in broken() if name in (each.plugin.name, *each.analyses)]
    if matching:
        raise BrokenPlugin(name, matching)
    raise UnknownAnalysis(name, known, broken())
