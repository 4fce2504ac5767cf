"""The wording of prompts by the shipped templates."""

from collections.abc import Mapping
from dataclasses import dataclass

from analyses.errors import Refused, did_you_mean, shown
from analyses.prompts.plans import Plan, Question
from analyses.prompts.separators import SEPARATORS, Separators
from analyses.prompts.written import Span, Written

OWN = "file:"


@dataclass(frozen=True, kw_only=True)
class Template:
    """A prelude, which may contain {topic}, and the default separators."""

    prelude: str
    separators: str


TEMPLATES: Mapping[str, Template] = {
    "chinchilla": Template(
        prelude=(
            "A highly knowledgeable and intelligent AI answers "
            "multiple-choice questions about {topic}.\n\n"
        ),
        separators="(A)",
    ),
    "mmlu": Template(
        prelude=("The following are multiple choice questions (with answers) about {topic}.\n\n"),
        separators="A.",
    ),
}


class UnknownTemplate(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No template named {shown(name)}.{did_you_mean(name, TEMPLATES)} Known templates: "
            f"{', '.join(TEMPLATES)}, or a Jinja file of your own such as {OWN}/path/mine.jinja."
        )


def find(name: str) -> Template:
    """The template with this name. Raises `UnknownTemplate`."""
    if name not in TEMPLATES:
        raise UnknownTemplate(name)
    return TEMPLATES[name]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A prelude, which may be empty, and separators: turns plans into prompts."""

    prelude: str
    separators: Separators

    @property
    def content(self) -> list[str]:
        """Its content, to be hashed."""
        each = self.separators
        return [self.prelude, each.before, each.after, each.tail, each.joint, each.closing]

    def write(self, plan: Plan) -> Written:
        """The prompt: prelude, solved questions, the question asked."""
        parts = self.separators
        page = _Page(self.prelude.replace("{topic}", plan.asked.item.topic))
        for shot in plan.shots:
            self._block(page, shot, plan.labels)
            page.add(parts.joint + plan.labels[shot.correct] + parts.closing)
        question, labels, options, stops = self._block(page, plan.asked, plan.labels)
        return Written(
            text=page.text,
            joint=parts.joint,
            question_span=question,
            label_spans=tuple(labels),
            option_spans=tuple(options),
            line_stops=tuple(stops),
        )

    def _block(
        self, page: "_Page", asked: Question, names: tuple[str, ...]
    ) -> tuple[Span, list[Span], list[Span], list[int]]:
        question = page.add(asked.item.question)
        page.add("\n")
        labels, options, stops = [], [], []
        for name, option in zip(names, asked.options, strict=True):
            page.add(self.separators.before)
            labels.append(page.add(name))
            page.add(self.separators.after)
            options.append(page.add(option))
            stops.append(page.add("\n").stop)
        page.add(self.separators.tail)
        return question, labels, options, stops


def wording(name: str, *, separators: str, prelude: bool) -> Wording:
    """The wording of a shipped template. Raises `UnknownTemplate`."""
    template = find(name)
    return Wording(
        prelude=template.prelude if prelude else "",
        separators=SEPARATORS.get(separators, SEPARATORS[template.separators]),
    )


class _Page:
    """A text under construction, which gives the span of each addition."""

    def __init__(self, text: str) -> None:
        self.text = text

    def add(self, text: str) -> Span:
        start = len(self.text)
        self.text += text
        return Span(start, len(self.text))
