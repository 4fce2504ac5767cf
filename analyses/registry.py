"""The registered analyses. Importing this, or a module that registers one, never imports torch.

Our own are imported directly; those of other packages once a trial has found them good.
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
from analyses.plugins import answers, asking, definition
from analyses.plugins.brought import Brought
from analyses.plugins.found import Broken, Plugin
from analyses.prompts.places import Places
from analyses.prompts.sources import Companion
from analyses.prompts.spec import DistributionSpec, Split
from analyses.quantities import Quantity
from analyses.results import Derived, Measured, ScoreKey
from analyses.stored import Stored, StoredArray

ENGINE_VERSION = 2  # raised when the way models are recorded changes the numbers of analyses
METHODS = "analyses.methods"  # whose modules register our own

Value = TypeVar("Value")


class ModelFacts(Protocol):
    """What is known of a model before it is loaded."""

    @property
    def layers(self) -> Sequence[LayerShape]: ...


@dataclass(frozen=True, kw_only=True)
class Need:
    """A run of the same model whose result an analysis reads; it is queued where it is not there.

    `name` is under which the result is handed over.
    """

    name: str
    analysis: str
    params: Mapping[str, Any]
    distribution: DistributionSpec


class Params(BaseModel):
    """What a person may choose; fields carry title, description, bounds and default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(
        8,
        ge=1,
        le=256,
        title="Batch size",
        description="Prompts in one forward pass. Batches are cut by prompt number, so the way a "
        "run is cut into parts changes no number; another batch size moves logits by about 1e-5.",
    )

    prompts: Literal["all", "known"] = Field(
        "all",
        title="Prompts",
        description="All, or only those whose answer the model knows: the correct option's text is "
        "the likeliest after the question alone. The others are skipped and counted.",
    )

    # The split of prompts where none is asked for: 'test' for an analysis that learns from 'train'.
    usual_split: ClassVar[Split] = "all"

    @property
    def companions(self) -> tuple[Companion, ...]:
        """Which prompts the analysis needs beside each of its own."""
        return ()

    def needs(self, spec: DistributionSpec) -> tuple[Need, ...]:
        """The runs that must have succeeded first, for prompts of that recipe."""
        return ()

    def check(self, model: ModelFacts, spec: DistributionSpec) -> None:
        """Raises a `Refused` for what no run of that model on such prompts could do."""

    def without(self, unreadable: Mapping[Companion, Refused]) -> Self:
        """The same without companions that the model cannot read, or raises why it cannot."""
        raise next(iter(unreadable.values()))

    def check_places(self, places: Places) -> None:
        """Raises a `Refused` where a prompt has no token that the analysis would read."""


class Measure(Protocol):
    """Measures some prompts: `(lm, prompts, params, progress)`, as `analysis` describes."""

    __name__: str

    def __call__(self, *arguments: Any, **inputs: Any) -> Measured: ...


# Mean scores of a whole run, parameters -> numbers about it. They get intervals: the same is done
# with the means of every resample.
Summarise = Callable[[Mapping[ScoreKey, float], Any], Mapping[ScoreKey, float]]

# All that the parts have measured, parameters -> what can only be said of all prompts together.
Derive = Callable[[Measured, Any], Derived]

# Means and numbers of a whole run, parameters -> what a reader must be warned of, in sentences.
Warns = Callable[[Mapping[ScoreKey, float], Any], Sequence[str]]

# The scores of a run -> new scores that are ratios of the means of two of them.
Ratios = Callable[[Sequence[ScoreKey]], Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]]


def no_ratios(keys: Sequence[ScoreKey]) -> Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]:
    """An analysis none of whose scores is a share of another."""
    return {}


def no_warning(means: Mapping[ScoreKey, float], params: Any) -> Sequence[str]:
    """An analysis that has nothing to warn of."""
    return ()


def every_score(key: ScoreKey) -> bool:
    """Which scores a summary reads: all of them."""
    return True


def no_summary(means: Mapping[ScoreKey, float], params: Any) -> Mapping[ScoreKey, float]:
    """An analysis whose scores say all there is to say."""
    return {}


def nothing_more(measured: Measured, params: Any) -> Derived:
    """An analysis that measures each prompt by itself."""
    return Derived()


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A registered method. `function` is an import string that only a worker resolves."""

    name: str
    version: int  # raised whenever the numbers change
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
    headline: Quantity | None  # what a picture shows first, at whatever site it is measured
    stores: Sequence[Stored]
    arrays: Sequence[StoredArray]
    plots: Mapping[str, Plot | str]
    reference: str
    needs_model: bool = True  # False: it reads the results of other runs alone
    origin: str = ""  # the package that brings it, with its version; of our own nothing

    def ask(self, question: Callable[[], Value]) -> Value:
        """The answer to a question that runs code of the analysis, such as that of its parameters.

        Whoever asks is kept from what code of others may do. Raises `Refused`.
        """
        return asking.answer(self.name, self.origin, question) if self.origin else question()

    def checked(self, values: Mapping[str, Any]) -> Params:
        """The parameters, validated; raises `InvalidParams`."""
        try:
            return self.params.model_validate(values)
        except ValidationError as error:
            raise InvalidParams(self, error) from None

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters that need not be chosen, as a run stores them."""
        fields = self.params.model_fields
        optional = {name for name, field in fields.items() if not field.is_required()}
        return self.params.model_construct().model_dump(mode="json", include=optional)

    @property
    def units(self) -> dict[str, str]:
        """Of metrics that have one."""
        return {each.metric: each.unit for each in self.stores if each.unit}

    def is_proportion(self, key: ScoreKey) -> bool:
        """Whether each prompt is 1 or 0, or a share of a tie."""
        declared = (
            each for each in self.stores if each.proportion and each.metric == key.quantity.metric
        )
        return any(key in each for each in declared)

    def measure(self) -> Measure:
        """The function itself; loads torch."""
        module, _, name = self.function.partition(":")
        function: Measure = getattr(import_module(module), name)
        return answers.measuring(function) if self.origin else function


class UnknownAnalysis(Refused):
    def __init__(self, name: str, known: Sequence[str], broken: Sequence[Broken] = ()) -> None:
        said = (
            f"No analysis named {shown(name)}.{did_you_mean(name, known)} "
            f"Known analyses: {', '.join(known) or 'none'}."
        )
        super().__init__(" ".join([said, *map(str, broken[:_MOST_NAMED])]))


class DuplicateAnalysis(Refused):
    def __init__(self, new: Analysis, old: Analysis) -> None:
        super().__init__(
            f"Two analyses are named {new.name!r}: {old.function} and {new.function}. "
            "Rename one of them."
        )


class BrokenPlugin(Refused):
    def __init__(self, name: str, broken: Sequence[Broken]) -> None:
        super().__init__(f"No analysis {name!r} can be used here. {' '.join(map(str, broken))}")


class InvalidParams(Refused):
    def __init__(self, analysis: Analysis, error: ValidationError) -> None:
        said = mistakes(error, "params")
        fields = ", ".join(analysis.params.model_fields) or "none"
        super().__init__(f"Parameters of {analysis.name!r}: {said}. Its parameters are: {fields}.")


_MOST_NAMED = 3  # plugins that one sentence names

_ANALYSES: dict[str, Analysis] = {}  # our own, and what a program registers by itself
_BROUGHT: ContextVar[dict[str, Analysis] | None] = ContextVar("brought", default=None)


def registered() -> dict[str, Analysis]:
    """Where an analysis lands that is registered here and now."""
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
    stores: Sequence[Stored] = (),
    arrays: Sequence[StoredArray] = (),
    plots: Mapping[str, Plot | str] | None = None,
    reference: str = "",
    needs_model: bool = True,
) -> Callable[[Measure], Measure]:
    """Register the decorated function as an analysis. Its docstring's first line is the summary.

    The function measures some prompts of a run: it takes the language model, `Example`s, the
    parameters, and `progress`, which it tells how many prompts are done and which may raise to
    stop it. Where the parameters name needs, it takes `inputs` by keyword too: each need's
    `Result` under its name. Every score and tensor has a finite number for every prompt, or says in
    `skipped` (`missing`) that it has none: any other NaN ends the run. The module must stay
    importable without torch: import it inside. `headline` is the quantity to look at first, without
    its site: it is meant at all of them.
    `conventions` are the choices the numbers depend on; they are stored with every run.
    `stores` and `arrays` say what its scores and tensors mean, `reference` where the method is
    from. `plots` are functions of the run's `Findings` that give a matplotlib figure or None, or
    import strings of such functions, by the names that their files get; the map of the headline is
    drawn in any case.
    With `needs_model=False` a worker loads no model: the function gets None in its place, prompts
    as their texts (`Prompt`), and reads its `inputs`.
    A module of another package is first imported in a process of its own: it has to return within
    20 seconds (`HEADBOOK_PLUGIN_SECONDS`), and to leave no thread or process behind. What it prints
    is no part of a command's output, and what it changes of the process, such as the folder, the
    environment or random numbers, is put back.
    Raises `BadDefinition`, `BadPlotName`, and `DuplicateAnalysis` when another holds the name.
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
    """Import the modules that register our own analyses."""
    folder = import_module(METHODS).__path__
    for each in iter_modules(folder, f"{METHODS}."):
        import_module(each.name)


def shipped() -> list[Analysis]:
    """Our own, by name; no plugin is looked at."""
    own()
    ours = (each for each in _ANALYSES.values() if each.function.startswith(f"{METHODS}."))
    return sorted(ours, key=lambda each: each.name)


def imported(plugin: Plugin) -> dict[str, Analysis]:
    """What the module of a plugin registers, by name; raises whatever it raises, and `Refused`."""
    own()
    brought: dict[str, Analysis] = {}
    before = _BROUGHT.set(brought)
    try:
        reduce(getattr, plugin.attributes, import_module(plugin.module))
    finally:
        _BROUGHT.reset(before)
    for each in brought.values():
        each.params.model_json_schema()
        with suppress(InvalidParams):  # some parameters may have to be chosen
            each.checked(each.defaults)
    return brought


def _as_brought(analysis: Analysis, plugin: Plugin) -> Analysis:
    """The analysis as that of a plugin: its answers are checked."""
    return replace(
        analysis,
        origin=plugin.distribution,
        summarise=answers.summarising(analysis.summarise),
        ratios=answers.ratios(analysis.ratios),
        derive=answers.deriving(analysis.derive),
        warns=answers.warning(analysis.warns),
        plots={name: answers.drawing(each) for name, each in analysis.plots.items()},
    )


_PLUGINS = Brought(imported, _as_brought)


def all_analyses() -> list[Analysis]:
    """Every analysis that can be used, ours and those of installed plugins, by name."""
    own()
    names = _PLUGINS.names if _BROUGHT.get() is None else []  # a plugin that asks is not used yet
    brought = [_PLUGINS.find(name) for name in names if name not in _ANALYSES]
    every = [*_ANALYSES.values(), *(each for each in brought if each is not None)]
    return sorted(every, key=lambda each: each.name)


def broken() -> list[Broken]:
    """The plugins that are not used, by name, each with its reason."""
    return _PLUGINS.broken if _BROUGHT.get() is None else []


def find(name: str) -> Analysis:
    """The analysis of that name; raises `UnknownAnalysis` and `BrokenPlugin`.

    No plugin is looked at for one of our own.
    """
    own()
    if name in _ANALYSES:
        return _ANALYSES[name]
    if _BROUGHT.get() is not None:
        raise UnknownAnalysis(name, sorted(_ANALYSES))
    if (found := _PLUGINS.find(name)) is not None:
        return found
    known = sorted({*_ANALYSES, *_PLUGINS.names})
    its = [each for each in broken() if name in (each.plugin.name, *each.analyses)]
    if its:
        raise BrokenPlugin(name, its)
    raise UnknownAnalysis(name, known, broken())
