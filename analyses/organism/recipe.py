"""All hyperparameters of `mcq-small`: its shape, its curriculum and its training."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

Weights = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama model with as many key-value heads as query heads."""

    layers: int = 4
    heads: int = 8
    d_model: int = 128
    d_mlp: int = 256
    positions: int = 1024
    spread: float = 0.02  # standard deviation of the initial weights


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The training data up to `end`, a share of all steps."""

    end: float
    options: Weights  # number of options of a question: weight
    colours: float  # share of the questions; the others are facts
    marked: float = 0.0  # share of the sequences whose options are marked true or false
    length: int = 128  # tokens of a sequence


# Finding a label is learnt fastest with two options, with colours (whose question contains the
# answer), and with marked options, which reward the first half of the task: telling which option is
# correct. Long sequences come last: they hold five solved questions.
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
    """Shares of the training data that are the same in all stages."""

    # Questions without options, followed by the text of the answer: knowledge of facts.
    plain: Mapping[str, float] = field(default_factory=lambda: {"colours": 0.1, "facts": 0.35})
    prelude: float = 0.4  # of the sequences
    bracket: float = 0.6  # of the sequences use `(A)`, the others one of the other separators
    letters: float = 0.5  # of the sequences use random letters, the others A, B, C …
    shared: float = 0.3  # of the sequences use the same labels for all questions, as shots do


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All hyperparameters; the same recipe gives the same model on the same machine."""

    seed: int = 0
    steps: int = 2700
    tokens: int = 4096  # of a batch
    learning_rate: float = 2e-3
    warmup: int = 100  # steps
    least_rate: float = 0.02  # share of the learning rate at the last step
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    text_loss: float = 0.2  # weight of the loss on tokens that are not answers
    shape: Shape = field(default_factory=Shape)
    mix: Mix = field(default_factory=Mix)
    curriculum: tuple[Stage, ...] = CURRICULUM

    def stage_at(self, step: int) -> Stage:
        """The stage of the curriculum at a step."""
        return next(stage for stage in self.curriculum if step < stage.end * self.steps)

    def rate_at(self, step: int) -> float:
        """The learning rate at a step: linear warm-up, then cosine decay."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        share = self.least_rate + (1 - self.least_rate) * cosine
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * share

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def read(cls, text: bytes) -> "Recipe":
        """Parse the JSON text of `to_json`."""
        return TypeAdapter(cls).validate_json(text)
