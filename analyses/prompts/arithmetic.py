"""Small sums, after three solved ones that are written the same way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.slots import filled
from analyses.prompts.splits import test_units
from analyses.prompts.streams import Stream
from analyses.prompts.task_files import read

SHOTS = 3
DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class _Sum:
    a: int
    b: int

    @property
    def sum(self) -> int:
        return self.a + self.b

    @property
    def unit(self) -> str:
        """The two numbers in order: sums of one unit are solved by the same fact."""
        return f"{min(self.a, self.b)}+{max(self.a, self.b)}"


# All sums of two numbers from 1 to 7 that are one digit; either number may then be another one.
SUMS = tuple(_Sum(a, b) for a in range(1, 8) for b in range(1, min(8, 10 - a)))


def items(counterfactual: str) -> Iterator[CompletionItem]:
    """Every sum in every template. The counterfactual is called by the number that differs.

    The candidates are both results. Solved sums are of the train split, and neither of the two
    that are asked; the counterfactual of a sum of the train split is not of the test split.
    """
    described = read("arithmetic")
    test = test_units(each.unit for each in SUMS)
    train = [each for each in SUMS if each.unit not in test]
    for name, template, numbers in _templates(described):
        for asked in SUMS:
            stream = Stream("arithmetic", name, asked.a, asked.b)
            operand = getattr(asked, counterfactual)
            changed = [
                replace(asked, **{counterfactual: number})
                for number in range(1, 10 - asked.sum + operand)
                if number != operand
            ]
            allowed = [each for each in changed if asked.unit in test or each.unit not in test]
            # Zero is in no sum that is asked, so it is of neither split.
            other = stream.choice(allowed or [replace(asked, **{counterfactual: 0})])
            solved = [each for each in train if each.unit not in (asked.unit, other.unit)]
            shots = "".join(
                template.format(**_written(each, numbers)) for each in stream.sample(solved, SHOTS)
            )
            candidates = asked.sum, other.sum
            yield CompletionItem(
                id=f"{name}/{asked.a}+{asked.b}",
                topic=described["topic"],
                unit=asked.unit,
                asks=asked.unit,
                asked=_completion(shots, template, asked, candidates, numbers),
                counterfactual=_completion(shots, template, other, candidates, numbers),
                groups={"template": name},
            )


def _templates(described: Mapping[str, Any]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """The name of each template, its text, and how it writes the numbers from 0 on."""
    for name, template in described["digits"].items():
        yield name, template, DIGITS
    for name, template in described["words"].items():
        yield name, template, described["numbers"]


def _written(each: _Sum, numbers: Sequence[str]) -> Mapping[str, str]:
    return {"a": numbers[each.a], "b": numbers[each.b], "sum": numbers[each.sum]}


def _completion(
    shots: str, template: str, each: _Sum, candidates: tuple[int, int], numbers: Sequence[str]
) -> Completion:
    question = template.partition("{sum}")[0]
    text, spans = filled(shots + question.rstrip(), _written(each, numbers))
    return Completion(
        text=text,
        joint=question[len(question.rstrip()) :],
        candidates=tuple(numbers[candidate] for candidate in candidates),
        correct=(candidates.index(each.sum),),
        spans=spans,
    )
