"""Every number that decides `mcq-small`: its shape, what it is shown, and how it is trained."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

Weights = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama; `heads` query heads share as many key-value heads."""

    layers: int = 4
    heads: int = 8
    d_model: int = 128
    d_mlp: int = 256
    positions: int = 1024
    spread: float = 0.02  # standard deviation of the first weights


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is shown until `end`, a share of all steps."""

    end: float
    options: Weights  # how many a question has
    colours: float  # share of the questions; the others are facts
    marked: float = 0.0  # share of the sequences whose options say whether they are true
    length: int = 128  # tokens of a sequence


# A label is found soonest among two, where the question itself tells the answer, and where options
# that say whether they are true reward the first half of the way: to see which one is. Long
# sequences come last: they hold five solved questions.
_ALL = {2: 0.1, 3: 0.15, 4: 0.5, 5: 0.15, 6: 0.1}
CURRICULUM = (
    Stage(end=0.1, options={2: 1.0}, colours=0.8, marked=0.6, length=96),
    Stage(end=0.4, options={2: 0.5, 3: 0.3, 4: 0.2}, colours=0.35, marked=0.3),
    Stage(end=0.6, options=_ALL, colours=0.35, marked=0.1),
    Stage(end=0.88, options=_ALL, colours=0.35),
    Stage(end=1.0, options=_ALL, colours=0.35, length=256),
)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Shares of what is shown, at any step."""

    # Questions without options, whose answer is told in words: what is known by heart.
    plain: Mapping[str, float] = field(default_factory=lambda: {"colours": 0.1, "facts": 0.35})
    prelude: float = 0.4  # of the sequences
    bracket: float = 0.6  # of the sequences have `(A)`, the others one of the other separators
    letters: float = 0.5  # of the sequences have random letters, the others A, B, C …
    shared: float = 0.3  # of the sequences keep their labels for all questions, as shots do


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of it; two trainings with the same recipe give the same model on the same machine."""

    seed: int = 0
    steps: int = 2700
    tokens: int = 4096  # of a batch
    learning_rate: float = 2e-3
    warmup: int = 100  # steps
    least_rate: float = 0.02  # of the learning rate, at the last step
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    text_loss: float = 0.2  # the weight of all tokens that are no answers
    shape: Shape = field(default_factory=Shape)
    mix: Mix = field(default_factory=Mix)
    curriculum: tuple[Stage, ...] = CURRICULUM

    def stage_at(self, step: int) -> Stage:
        return next(stage for stage in self.curriculum if step < stage.end * self.steps)

    def rate_at(self, step: int) -> float:
        """Up in a line, then down along a cosine."""
        fallen = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        share = self.least_rate + (1 - self.least_rate) * fallen
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * share

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def read(cls, text: bytes) -> "Recipe":
        """The recipe whose `to_json` was written as that text."""
        return TypeAdapter(cls).validate_json(text)
