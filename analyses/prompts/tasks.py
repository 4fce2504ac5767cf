"""The shipped tasks: what each one asks, where it is from, and its items."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

from analyses.errors import Refused, did_you_mean, shown
from analyses.prompts import arithmetic, fact_recall, greater_than, ioi
from analyses.prompts.completions import CompletionItem


class UnknownTask(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No task named {shown(name)}.{did_you_mean(name, TASKS)} "
            f"Known tasks: {', '.join(TASKS)}."
        )


class UnknownCounterfactual(Refused):
    def __init__(self, task: "Task", name: str) -> None:
        super().__init__(
            f"The task {task.name} has no counterfactual named {shown(name)}."
            f"{did_you_mean(name, task.counterfactuals)} "
            f"Known counterfactuals: {', '.join(task.counterfactuals)}."
        )


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shipped task of completions.

    `about` and `reference` say what it asks and which paper it is from; `meanings` say what each
    counterfactual changes, the default one first. `key_site` is the span to look at first.
    `for_split_digits` names the variant for tokenizers that do not split years after the century.
    """

    name: str
    about: str
    reference: str
    unit: str  # what the train and the test split are divided by
    meanings: Mapping[str, str]
    key_site: str
    one_token_in: tuple[str, ...]  # the tokenizers in which every candidate was found to be one
    make: Callable[[str], Iterator[CompletionItem]]
    for_split_digits: str | None = None

    def check(self, counterfactual: str) -> None:
        """Raises `UnknownCounterfactual`."""
        if counterfactual not in self.counterfactuals:
            raise UnknownCounterfactual(self, counterfactual)

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        return tuple(self.meanings)


_RECALL = "Meng et al. 2022, arXiv 2202.05262"
_RELATIONS = "Hernandez et al. 2023, arXiv 2308.09124"
_OTHER = {"other": "another fact of the relation, with its answer, in the same words"}

_TASKS = (
    Task(
        name="ioi",
        about=(
            "Indirect object identification: two persons are named, one of them gives something; "
            "the other one receives it."
        ),
        reference="Wang et al. 2022, arXiv 2211.00593",
        unit="template",
        meanings={
            "swap": "the two persons exchanged everywhere, so that the other one receives it",
            "abc": "a third person gives, so that nothing says who receives; the answer stays",
        },
        key_site="io",
        one_token_in=("GPT-2", "Llama 2", "Llama 3", "SmolLM2"),
        make=ioi.items,
    ),
    Task(
        name="greater_than",
        about="Something began in one year; it ended in a later one of the same century.",
        reference="Hanna et al. 2023, arXiv 2305.00586",
        unit="template",
        meanings={"01": "it began in the year 01 of the century, so that nearly all are later"},
        key_site="year",
        one_token_in=("GPT-2",),
        make=greater_than.items,
        for_split_digits="greater_than_digits",
    ),
    Task(
        name="greater_than_digits",
        about=(
            "Greater-than for tokenizers that read numbers digit by digit: it ended later in the "
            "same decade, and the last digit is asked."
        ),
        reference="Hanna et al. 2023, arXiv 2305.00586",
        unit="template",
        meanings={"01": "it began in the year 1 of the decade, so that nearly all are later"},
        key_site="year",
        one_token_in=("Llama 2", "Llama 3", "SmolLM2"),
        make=greater_than.items_of_digits,
    ),
    Task(
        name="capitals",
        about="Factual recall: the capital of a country.",
        reference=_RECALL,
        unit="country",
        meanings=_OTHER,
        key_site="subject",
        one_token_in=("GPT-2", "Llama 3", "SmolLM2"),
        make=partial(fact_recall.items, "capitals"),
    ),
    Task(
        name="languages",
        about="Factual recall: the main language of a country.",
        reference=_RELATIONS,
        unit="country",
        meanings=_OTHER,
        key_site="subject",
        one_token_in=("GPT-2", "Llama 3", "SmolLM2"),
        make=partial(fact_recall.items, "languages"),
    ),
    Task(
        name="opposites",
        about="Recall of words: the opposite of a word.",
        reference=_RELATIONS,
        unit="word",
        meanings=_OTHER,
        key_site="subject",
        one_token_in=("GPT-2", "Llama 3", "SmolLM2"),
        make=partial(fact_recall.items, "opposites"),
    ),
    Task(
        name="arithmetic",
        about="Sums of one digit, in digits or in words, after three solved ones.",
        reference="Stolfo et al. 2023, arXiv 2305.15054",
        unit="pair of numbers",
        meanings={
            "b": "another second number, and so another sum",
            "a": "another first number, and so another sum",
        },
        key_site="b",
        one_token_in=("GPT-2", "Llama 2", "Llama 3", "SmolLM2"),
        make=arithmetic.items,
    ),
)

TASKS: Mapping[str, Task] = {each.name: each for each in _TASKS}


def task(name: str) -> Task:
    """The task with this name. Raises `UnknownTask`."""
    if name not in TASKS:
        raise UnknownTask(name)
    return TASKS[name]


@cache
def items(name: str, counterfactual: str) -> tuple[CompletionItem, ...]:
    """The items of a task with this counterfactual, always the same ones in the same order.

    Raises `UnknownTask` or `UnknownCounterfactual`.
    """
    found = task(name)
    chosen = counterfactual or found.counterfactuals[0]
    found.check(chosen)
    return tuple(found.make(chosen))
