"""The layouts of files of completions, and the columns of each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Layout(StrEnum):
    PAIRS = "pairs"
    TRANSFORMER_LENS = "transformer_lens"
    MIB = "mib"


class PairColumns(NamedTuple):
    """The names of the columns.

    All but `prompt`, `correct` and `others` may be missing from a file under their usual names.
    """

    prompt: str = "prompt"
    correct: str = "correct"
    others: str = "others"
    counterfactual: str = "counterfactual"
    counterfactual_correct: str = "counterfactual_correct"
    counterfactual_others: str = "counterfactual_others"
    spans: str = "spans"
    counterfactual_spans: str = "counterfactual_spans"
    subject: str = "subject"
    groups: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [*(each for each in self if isinstance(each, str) and each), *self.groups]

    def of(self, layout: Layout) -> "PairColumns":
        """The columns, where those with the usual names have the layout's own."""
        named = zip(self._fields, self, PairColumns(), USUAL[layout], strict=True)
        others: dict[str, Any] = {field: own for field, name, usual, own in named if name == usual}
        return self._replace(**others)


USUAL: Mapping[Layout, PairColumns] = {
    Layout.PAIRS: PairColumns(),
    Layout.TRANSFORMER_LENS: PairColumns(
        prompt="clean",
        correct="answer",
        others="wrong_answer",
        counterfactual="corrupted",
        counterfactual_correct="corrupted_answer",
        counterfactual_others="corrupted_wrong_answer",
        counterfactual_spans="corrupted_spans",
    ),
    Layout.MIB: PairColumns(correct="answerKey", others="choices", counterfactual=""),
}
