"""Which category a head gets from its mean attention and effects: of questions, of completions."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyses.methods.categorise import CategoriseParams

OTHERS = "other_labels"  # the group of keys that is measured of completions only


class Category(StrEnum):
    """Of multiple-choice questions."""

    CORRECT_LETTER = "correct_letter"
    SINGLE_LETTER = "single_letter"
    UNIFORM = "uniform"
    AMPLIFICATION = "amplification"
    CONTENT_GATHERER = "content_gatherer"
    OTHER = "other"


class Role(StrEnum):
    """The category of a head on completions."""

    MOVER = "mover"
    SUPPRESSOR = "suppressor"
    GATHERER = "gatherer"
    AMPLIFIER = "amplifier"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Head:
    """The means that decide a head's category."""

    depth: float  # 0 in the first layer, 1 in the last
    importance: float
    total: float
    direct: float  # negative if the head raises the logit difference: it is then replaced
    weights: Mapping[str, float]  # by group of keys

    def category(self, params: "CategoriseParams") -> Category | Role:
        """The first category whose conditions are met."""
        if OTHERS in self.weights:
            roles = self._roles(params)
            return next((role for role, met in roles.items() if met), Role.OTHER)
        letters = self._letters(params)
        return next((category for category, met in letters.items() if met), Category.OTHER)

    def _letters(self, params: "CategoriseParams") -> Mapping[Category, bool]:
        labels = self._labels()
        on_labels = self.weights["labels"]
        others = (on_labels - self.weights["correct_label"]) / (len(labels) - 1)
        largest = max(labels) / on_labels if on_labels else 0.0
        reads_labels = on_labels >= params.on_labels
        return {
            Category.CORRECT_LETTER: reads_labels
            and self.weights["correct_label"] >= params.correct_over_others * others,
            Category.SINGLE_LETTER: reads_labels and largest >= params.one_label,
            Category.UNIFORM: reads_labels and largest <= 1 / len(labels) + params.uneven,
            Category.AMPLIFICATION: self.depth >= params.late
            and self.weights["last"] >= params.on_last
            and self.direct < 0,
            Category.CONTENT_GATHERER: not self._writes(params)
            and self.weights["contents"] + self.weights["ends"] >= params.on_contents,
        }

    def _labels(self) -> list[float]:
        """The weight on each label, by index of its option."""
        labels: list[float] = []
        while (name := f"label_{len(labels)}") in self.weights:
            labels.append(self.weights[name])
        return labels

    def _roles(self, params: "CategoriseParams") -> Mapping[Role, bool]:
        correct, others = self.weights["correct_label"], self.weights[OTHERS]
        reads_correct = (
            correct + others >= params.on_labels and correct >= params.correct_over_others * others
        )
        writes = self._writes(params)
        return {
            Role.MOVER: reads_correct and writes and self.direct < 0,
            Role.SUPPRESSOR: reads_correct and writes and self.direct > 0,
            Role.GATHERER: not writes,
            Role.AMPLIFIER: self.depth >= params.late and self.direct < 0,
        }

    def _writes(self, params: "CategoriseParams") -> bool:
        """Whether it acts on the answer itself, rather than mostly through other components."""
        return abs(self.direct) > params.direct * abs(self.total)
