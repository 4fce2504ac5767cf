"""A prompt: its text, the labels that may continue it, and the spans of its parts."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from analyses.prompts.completions import Completion
from analyses.prompts.plans import Plan
from analyses.prompts.written import Span, Written

LABEL = "label"  # the part of a prompt that is a label


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One text for a language model, and the labels that may continue it after `joint`.

    `joint` is a space or empty. `correct` are the indices of the correct labels: one or several.
    `labelled` is what its labels are called in messages.
    """

    labelled: ClassVar[str] = LABEL

    number: int
    item: str
    text: str
    joint: str
    labels: tuple[str, ...]
    correct: tuple[int, ...]

    @property
    def groups(self) -> Mapping[str, str | int]:
        """The groups of prompts that it belongs to, by which answers are broken down."""
        return {}

    @property
    def parts(self) -> Iterator[tuple[str, Span]]:
        """What each named part of the text is, such as a label, and where; none may be unknown."""
        return iter(())

    @property
    def correct_labels(self) -> tuple[str, ...]:
        return tuple(self.labels[index] for index in self.correct)

    @property
    def facts(self) -> Mapping[str, str]:
        """What a reader of its text cannot see in it, by name."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class QuestionPrompt(Prompt):
    """A multiple-choice question; its answer is `options[correct_option]`.

    Spans are in characters of `text`, recorded while it was built.
    """

    options: tuple[str, ...]
    question_span: Span
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]
    line_stops: tuple[int, ...]  # where each option's line ends, after its newline

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; `correct` is the index of the correct option."""
        return asdict(self) | {"correct": self.correct_option}

    @property
    def correct_option(self) -> int:
        """The index of the correct option, whose label is the one correct label."""
        (index,) = self.correct
        return index

    @property
    def parts(self) -> Iterator[tuple[str, Span]]:
        yield from ((LABEL, span) for span in self.label_spans)
        yield from (("option", span) for span in self.option_spans)

    @property
    def groups(self) -> Mapping[str, str | int]:
        """The position of the correct option, from 0, and its label."""
        return {"position": self.correct_option, "label": self.labels[self.correct_option]}


@dataclass(frozen=True, kw_only=True)
class CompletionPrompt(Prompt):
    """A text to complete; the labels are its candidates, and `spans` its named parts."""

    labelled: ClassVar[str] = "candidate"

    spans: Mapping[str, Span]
    by: Mapping[str, str] = field(default_factory=dict)  # its groups, such as its template

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        plain = asdict(self)
        return plain | {"groups": plain.pop("by")}

    @property
    def facts(self) -> Mapping[str, str]:
        """Its candidates, spans and groups."""
        others = (label for label in self.labels if label not in self.correct_labels)
        spans = (f"{name}={self.text[slice(*span)]!r}" for name, span in self.spans.items())
        facts = {
            "correct": " | ".join(self.correct_labels),
            "others": " | ".join(others),
            "spans": ", ".join(spans),
            "groups": ", ".join(f"{name}={value}" for name, value in self.by.items()),
        }
        return {name: fact for name, fact in facts.items() if fact}

    @property
    def parts(self) -> Iterator[tuple[str, Span]]:
        return ((f"span {name!r},", span) for name, span in self.spans.items())

    @property
    def groups(self) -> Mapping[str, str | int]:
        return self.by


def prompt_of(number: int, plan: Plan, written: Written) -> QuestionPrompt:
    """The prompt of a plan and its wording."""
    return QuestionPrompt(
        number=number,
        item=plan.asked.item.id,
        text=written.text,
        joint=written.joint,
        labels=plan.labels,
        options=plan.asked.options,
        correct=(plan.asked.correct,),
        question_span=written.question_span,
        label_spans=written.label_spans,
        option_spans=written.option_spans,
        line_stops=written.line_stops,
    )


def completion_prompt(
    number: int, item: str, completion: Completion, groups: Mapping[str, str]
) -> CompletionPrompt:
    """The prompt of a completion."""
    return CompletionPrompt(
        number=number,
        item=item,
        text=completion.text,
        joint=completion.joint,
        labels=completion.candidates,
        correct=completion.correct,
        spans=completion.spans,
        by=groups,
    )
