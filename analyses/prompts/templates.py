"""How a question is put to a language model: prompt text, and where its labels and options are."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import NamedTuple

from analyses.errors import Refused, did_you_mean


class Span(NamedTuple):
    """`text[start:stop]`, in characters."""

    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Template:
    """The pieces of a prompt. `tail` ends where the label is to follow, without a space."""

    head: str  # knows {topic} and {question}
    option: str  # one option's line, knows {label} and {option}
    tail: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A prompt's text, with one span per label and one per option."""

    text: str
    label_spans: tuple[Span, ...]
    option_spans: tuple[Span, ...]


TEMPLATES = {
    "chinchilla": Template(
        head=(
            "A highly knowledgeable and intelligent AI answers "
            "multiple-choice questions about {topic}.\n\n{question}\n"
        ),
        option="({label}) {option}\n",
        tail="Answer: (",
    ),
}


class UnknownTemplate(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No template named {name!r}.{did_you_mean(name, TEMPLATES)} "
            f"Known templates: {', '.join(TEMPLATES)}."
        )


def find(name: str) -> Template:
    """The template of that name; raises `UnknownTemplate`."""
    if name not in TEMPLATES:
        raise UnknownTemplate(name)
    return TEMPLATES[name]


def render(
    template: Template, *, topic: str, question: str, labels: Sequence[str], options: Sequence[str]
) -> Rendered:
    """The prompt for one question; option i stands beside label i."""
    text = template.head.format(topic=topic, question=question)
    spans: dict[str, list[Span]] = {"label": [], "option": []}
    for label, option in zip(labels, options, strict=True):
        values = {"label": label, "option": option}
        for literal, field, _, _ in Formatter().parse(template.option):
            text += literal
            if field is not None:
                spans[field].append(Span(len(text), len(text) + len(values[field])))
                text += values[field]
    return Rendered(
        text=text + template.tail,
        label_spans=tuple(spans["label"]),
        option_spans=tuple(spans["option"]),
    )
