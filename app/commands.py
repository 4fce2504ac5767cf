"""What the app does, as a line for the shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from tracker.domain import Priority
from tracker.reports import RunDetail


def submit(
    *,
    analysis: str,
    model: str,
    distribution: str,
    size: int,
    prompt_seed: int,
    params: Mapping[str, Any],
    seed: int,
    priority: Priority = Priority.NORMAL,
    study: str | None = None,
    force: bool = False,
) -> str:
    """The command that queues a run."""
    words = ["headbook", "submit", analysis, "--model", model, "--distribution", distribution]
    words += ["--prompts", str(size), "--prompt-seed", str(prompt_seed), "--seed", str(seed)]
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
        prompt_seed=detail.prompt_seed,
        params=line.params,
        seed=line.seed,
        force=True,
    )


def _value(value: Any) -> str:
    """As `headbook submit` reads it: JSON, or the text itself where that is no JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)
