"""Names runs for people, by everything that distinguishes them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analyses import registry
from analyses.errors import Refused
from analyses.plurals import counted
from analyses.prompts.spec import in_short
from analyses.registry import Analysis
from tracker.results import RunLine

REVISION = 7  # digits shown of a model's revision


@dataclass(frozen=True, kw_only=True)
class RunName:
    """The parts of a name; default values are left out."""

    analysis: str
    model: str
    prompts: str
    params: str

    def __str__(self) -> str:
        return " · ".join(filter(None, (self.analysis, self.model, self.prompts, self.params)))


def name_of(line: RunLine) -> RunName:
    """The name of a run; it includes every parameter if the analysis is not installed here."""
    try:
        analysis = registry.find(line.analysis)
    except Refused:
        analysis = None
    return RunName(
        analysis=line.analysis + _version(line, analysis),
        model=f"{line.model}@{line.model_revision[:REVISION]}, {line.dtype}",
        prompts=f"{counted(line.n_prompts, 'prompt')} of "
        f"{in_short(line.recipe, line.distribution_hash)}",
        params=_params(line, analysis.defaults if analysis else {}),
    )


def _version(line: RunLine, analysis: Analysis | None) -> str:
    installed = (analysis.version, registry.ENGINE_VERSION) if analysis else None
    used = line.analysis_version, line.engine_version
    return "" if used == installed else f" version {used[0]} on engine {used[1]}"


def _params(line: RunLine, defaults: Mapping[str, Any]) -> str:
    changed = {
        name: value
        for name, value in line.params.items()
        if name not in defaults or defaults[name] != value
    }
    words = [f"{name}={_text(value)}" for name, value in changed.items()]
    return ", ".join([*words, *([f"bootstrap seed {line.seed}"] if line.seed else [])])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(map(_text, value)) or "none"
    return json.dumps(value)
