"""A prompt: its text, options and labels, and their spans in the text."""

from dataclasses import dataclass

from analyses.prompts.plans import Plan
from analyses.prompts.written import Span, Written


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One text for a language model; its answer is `options[correct]`, labelled `labels[correct]`.

    Spans are in characters of `text`, recorded while it was built. A label continues the text after
    `joint`, which is a space or empty.
    """

    number: int
    item: str
    text: str
    joint: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    correct: int
    question_span: Span
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]
    line_stops: tuple[int, ...]  # where each option's line ends, after its newline


def prompt_of(number: int, plan: Plan, written: Written) -> Prompt:
    """The prompt of a plan and its wording."""
    return Prompt(
        number=number,
        item=plan.asked.item.id,
        text=written.text,
        joint=written.joint,
        labels=plan.labels,
        options=plan.asked.options,
        correct=plan.asked.correct,
        question_span=written.question_span,
        label_spans=written.label_spans,
        option_spans=written.option_spans,
        line_stops=written.line_stops,
    )
