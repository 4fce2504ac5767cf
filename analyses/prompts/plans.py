"""The content of a prompt before it is worded: the question, the solved ones, the labels."""

from dataclasses import dataclass

from analyses.prompts.items import Item


@dataclass(frozen=True, kw_only=True)
class Question:
    """An item with its options in order; `options[correct]` is the answer."""

    item: Item
    options: tuple[str, ...]
    correct: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One prompt: `asked` after the solved `shots`, all with the same labels."""

    asked: Question
    shots: tuple[Question, ...]
    labels: tuple[str, ...]

    @property
    def correct_label(self) -> str:
        return self.labels[self.asked.correct]
