"""Numbers that every analysis has given before: `python tests/analyses/golden.py` writes them anew.

They may only change with the analysis's version, or with that of the engine.
"""

import json
import sys
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

FILE = Path(__file__).with_name("golden.json")
SIZE = 8
OF_EACH = 12  # numbers kept of each analysis
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
        """Means spread evenly over all that it stores, by name."""
        measured, derived = self.measured(analysis.name)
        means = {key: float(np.nanmean(each)) for key, each in measured.scores.items()}
        every = sorted({**means, **derived.numbers}.items())
        kept = every[:: max(1, len(every) // OF_EACH)]
        return {_named(key): float(f"{value:.6g}") for key, value in kept}


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
    shipped = Shipped()
    ours = [each for each in registry.all_analyses() if each.function.startswith("analyses.")]
    golden = {
        each.name: {
            "version": each.version,
            "engine": registry.ENGINE_VERSION,
            "numbers": shipped.numbers(each),
        }
        for each in ours
    }
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
