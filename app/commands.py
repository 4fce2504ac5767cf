"""What the app does, as a line for the shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from analyses.prompts.spec import unusual
from tracker.domain import Priority
from tracker.reports import RunDetail


def submit(
    *,
    analysis: str,
    model: str,
    distribution: str,
    size: int,
    prompt_seed: int,
    recipe: Mapping[str, Any],
    params: Mapping[str, Any],
    seed: int,
    priority: Priority = Priority.NORMAL,
    study: str | None = None,
    force: bool = False,
) -> str:
    """The command that queues a run."""
    words = ["headbook", "submit", analysis, "--model", model, "--distribution", distribution]
    words += ["--prompts", str(size), "--prompt-seed", str(prompt_seed), "--seed", str(seed)]
    words += _recipe(recipe)
    for name, value in params.items():
        words += ["-p", f"{name}={_value(value)}"]
    if priority is not Priority.NORMAL:
        words += ["--priority", priority.value]
    if study:
        words += ["--study", study]
    return shlex.join(words + ["--force"] * force)


def repeat(detail: RunDetail) -> str:
    """The command that runs a run again."""
    line = detail.line
    return submit(
        analysis=line.analysis,
        model=line.model,
        distribution=line.distribution,
        size=line.n_prompts,
        prompt_seed=line.recipe["seed"],
        recipe=line.recipe,
        params=line.params,
        seed=line.seed,
        force=True,
    )


def _recipe(fields: Mapping[str, Any]) -> list[str]:
    """The options of a recipe that are not as they are by default, apart from name, size, seed.

    The split is always there: what it is by default depends on the analysis.
    """
    words: list[str] = []
    split = {"split": fields["split"]} if "split" in fields else {}
    for name, value in (unusual(fields) | split).items():
        option = "--" + name.replace("_", "-").replace("columns", "column")
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-"))
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [option, str(each)]
    return words


def _value(value: Any) -> str:
    """As `headbook submit` reads it: JSON, or the text itself where that is no JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)
