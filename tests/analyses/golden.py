"""Numbers that every analysis has given before: `python tests/analyses/golden.py` writes them anew.

They may only change with the analysis's version, or with that of the engine. A number that is kept
stays; a metric of which none is kept gets one.
"""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from studied import read_for, result, run

from analyses import registry
from analyses.language_model import LanguageModel
from analyses.organism.export import SHIPPED
from analyses.prompts.distributions import DistributionSpec
from analyses.registry import Analysis, Params
from analyses.results import Derived, Measured, ScoreKey
from analyses.stored import LABEL_METRICS

FILE = Path(__file__).with_name("golden.json")
SIZE = 8
OF_EACH = 12  # numbers kept of a new analysis
METRICS = {each.metric for each in LABEL_METRICS}
CHOSEN: dict[str, dict[str, Any]] = {  # so that the numbers come in seconds
    "subspace": {"heads": ("3.7", "3.0"), "ranks": (1, 2), "placebo_ranks": (1, 2)},
    "label_randomisation": {"heads": ("3.7", "3.0")},
}


class Shipped:
    """Every analysis of the shipped model, each once; needs are measured on the same prompts."""

    def __init__(self) -> None:
        self.lm = LanguageModel.load(SHIPPED)
        self.done: dict[str, tuple[Measured, Derived]] = {}

    def measured(self, name: str) -> tuple[Measured, Derived]:
        if name not in self.done:
            self.done[name] = self.again(name)
        return self.done[name]

    def again(self, name: str, **choices: object) -> tuple[Measured, Derived]:
        """Anew, perhaps with other parameters, from the same inputs."""
        analysis = registry.find(name)
        params = analysis.checked({**CHOSEN.get(name, {}), **choices})
        prompts = read_for(self.lm, size=SIZE, kinds=params.companions)
        found = run(analysis.measure(), self.lm, prompts, params, **self._inputs(params))
        return found, analysis.derive(found, params)

    def _inputs(self, params: Params) -> dict[str, object]:
        spec = DistributionSpec(data="colours", split="test")
        needs = params.needs(spec)
        results = {each.name: result(*self.measured(each.analysis)) for each in needs}
        return {"inputs": results} if needs else {}

    def numbers(self, analysis: Analysis) -> dict[str, float]:
        """The mean of every score and all numbers that it stores, by name."""
        measured, derived = self.measured(analysis.name)
        means = {key: float(np.nanmean(each)) for key, each in measured.scores.items()}
        every = sorted({**means, **derived.numbers}.items())
        return {_named(key): float(f"{value:.6g}") for key, value in every}


def kept(numbers: Mapping[str, float], before: Collection[str]) -> dict[str, float]:
    """The numbers that were kept before, or some spread evenly; and one of every other metric."""
    names = [name for name in numbers if name in before]
    names = names or list(numbers)[:: max(1, len(numbers) // OF_EACH)]
    by_metric: dict[str, list[str]] = {}
    for name in numbers:
        by_metric.setdefault(_metric(name), []).append(name)
    known = {_metric(name) for name in names}
    names += [each[len(each) // 2] for metric, each in by_metric.items() if metric not in known]
    return {name: number for name, number in numbers.items() if name in names}


def _metric(name: str) -> str:
    """The metric of a name; of an effect, that on which it is."""
    _, metric, _, condition, _ = name.split("|")
    return condition if condition in METRICS else metric


def _named(key: ScoreKey) -> str:
    return "|".join(
        (
            key.component.label,
            key.quantity.metric,
            key.quantity.site,
            key.quantity.condition,
            f"{key.x:g}",
        )
    )


def main() -> int:
    shipped, before = Shipped(), json.loads(FILE.read_text(encoding="utf-8"))
    ours = [each for each in registry.all_analyses() if each.function.startswith("analyses.")]
    golden = {
        each.name: {
            "version": each.version,
            "engine": registry.ENGINE_VERSION,
            "numbers": kept(
                shipped.numbers(each), before.get(each.name, {}).get("numbers", {}).keys()
            ),
        }
        for each in ours
    }
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
