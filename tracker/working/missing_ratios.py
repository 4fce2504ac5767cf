"""Warnings about ratios of a run that have no value: how many, of which components, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence

from analyses.bootstrap import Statistics
from analyses.plurals import counted
from analyses.quantities import Quantity
from analyses.results import Kind, ScoreKey

ByKey = Mapping[ScoreKey, Statistics]
NAMES = {  # singular and plural
    Kind.MODEL: ("model", "models"),
    Kind.HEAD: ("head", "heads"),
    Kind.KV_HEAD: ("key-value head", "key-value heads"),
    Kind.MLP: ("MLP", "MLPs"),
    Kind.ATTN: ("attention layer", "attention layers"),
    Kind.EMBED: ("embedding", "embeddings"),
    Kind.ATTN_BIAS: ("attention bias", "attention biases"),
    Kind.UNEMBED: ("unembedding", "unembeddings"),
    Kind.SET: ("set of components", "sets of components"),
}


def missing_ratios(
    statistics: ByKey, ratios: Mapping[ScoreKey, tuple[ScoreKey, ScoreKey]]
) -> list[str]:
    """A sentence for each quantity, at any site, of which ratios have no value, and each reason."""
    without: dict[tuple[Quantity, str], list[ScoreKey]] = {}
    for key, (_, divisor) in ratios.items():
        if key in statistics and statistics[key].mean is None:
            why = _why(statistics[divisor])
            without.setdefault((key.quantity.at_any_site, why), []).append(key)
    count = Counter(key.quantity.at_any_site for key in ratios)
    return [
        _sentence(quantity, why, keys, of=count[quantity])
        for (quantity, why), keys in sorted(without.items())
    ]


def _why(divisor: Statistics) -> str:
    if divisor.n == 0:
        return "no prompt counts"
    if divisor.ci_low is None:
        return "what is divided by has no interval, as all prompts that count are of one item"
    return "the 95 % interval of what is divided by includes zero"


def _sentence(quantity: Quantity, why: str, keys: Sequence[ScoreKey], *, of: int) -> str:
    under = f" under {quantity.condition}" if quantity.varied else ""
    said = f"{quantity.metric}{under} has no value in {len(keys)} of {counted(of, 'score')}"
    return f"{said}, for {_components(keys)}: {why}."


def _components(keys: Sequence[ScoreKey]) -> str:
    """Their components: `8 heads and 1 set of components`."""
    kinds = Counter(component.kind for component in {key.component for key in keys})
    *most, last = [counted(count, *NAMES[kind]) for kind, count in sorted(kinds.items())]
    return " and ".join(filter(None, (", ".join(most), last)))
