"""What a prompt says, before it has words: the question asked, the solved ones, the labels."""

from dataclasses import dataclass

from analyses.prompts.items import Item


@dataclass(frozen=True, kw_only=True)
class Question:
    """An item with its options in an order; `options[correct]` is the answer."""

    item: Item
    options: tuple[str, ...]
    correct: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One prompt: `asked` after the solved `shots`, all under the same labels."""

    asked: Question
    shots: tuple[Question, ...]
    labels: tuple[str, ...]

    @property
    def correct_label(self) -> str:
        return self.labels[self.asked.correct]
