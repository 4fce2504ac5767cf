"""The page of the shipped tasks: `python -m analyses.prompts.task_page > docs/tasks.md`."""

import sys
from collections.abc import Iterator

from analyses.prompts import tasks
from analyses.prompts.completions import Completion
from analyses.prompts.tasks import Task

SHOWN = 3  # candidates of an example


def page() -> str:
    """Markdown: every task with an example of each counterfactual."""
    sections = ("\n".join(_section(task)) for task in tasks.TASKS.values())
    return "\n\n".join(["# Tasks", _INTRODUCTION, *sections]) + "\n"


_INTRODUCTION = (
    "The shipped tasks of completions, generated from the code. In an example, `…` stands for more "
    "candidates; the correct ones follow the arrow. Items of one unit are all in the train split "
    "or all in the test split."
)


def _section(task: Task) -> Iterator[str]:
    items = tasks.items(task.name, task.counterfactuals[0])
    yield f"## `{task.name}`\n"
    yield f"{task.about} From {task.reference}.\n"
    yield f"- prompts: {len(items)}; unit: {task.unit}; spans: {_names(items[0].asked)}"
    yield f"- every candidate is one token in the tokenizers of {', '.join(task.one_token_in)}"
    if variant := task.for_split_digits:
        yield f"- for tokenizers that do not split years after the century: `{variant}`"
    yield f"- for example: {_example(items[0].asked)}"
    for name, meaning in task.meanings.items():
        counterfactual = tasks.items(task.name, name)[0].counterfactual
        assert counterfactual is not None  # every shipped item has one
        yield f"- counterfactual `{name}`: {meaning}: {_example(counterfactual)}"


def _names(completion: Completion) -> str:
    return ", ".join(f"`{name}`" for name in completion.spans)


def _example(completion: Completion) -> str:
    correct = [completion.candidates[index] for index in completion.correct]
    more = ["…"] if len(correct) > SHOWN else []
    return f"`{completion.text}` → {', '.join(correct[:SHOWN] + more)}"


if __name__ == "__main__":
    sys.stdout.write(page())
