"""Completions for small random models: persons of one letter, which is one token."""

from collections.abc import Sequence

from analyses.language_model import LanguageModel
from analyses.prompts.completions import Completion
from analyses.prompts.examples import Example, examples
from analyses.prompts.prompt import CompletionPrompt, completion_prompt
from analyses.prompts.sources import SourceKind
from analyses.prompts.written import Span

PERSONS = "JKQVWXYZ"
TEMPLATES = {"met": "{io} and {s} met. {s} saw ", "then": "Then {s}, after {io} had left, found "}


def completed(number: int, *, swapped: bool = False) -> CompletionPrompt:
    """Three candidates: the indirect object and a third person are correct, the subject is not."""
    io, s, third = (PERSONS[(number + step) % len(PERSONS)] for step in (0, 1 + number % 3, 5))
    template = list(TEMPLATES)[number % 2]
    candidates = (s, io, third)
    if swapped:
        io, s, template = s, io, "then" if template == "met" else "met"
    text = TEMPLATES[template].format(io=io, s=s)
    completion = Completion(
        text=text,
        joint="",
        candidates=candidates,
        correct=tuple(n for n, each in enumerate(candidates) if each != s),
        spans={"io": at(text, io), "s1": at(text, s)},
    )
    return completion_prompt(number, f"{template}/{number}", completion, {"template": template})


def at(text: str, name: str) -> Span:
    """Where a name first is."""
    return Span(text.index(name), text.index(name) + len(name))


def read(lm: LanguageModel, numbers: Sequence[int]) -> list[Example]:
    """These completions, each beside one of the other template with the persons exchanged."""
    prompts = [completed(number) for number in numbers]
    paired = {number: completed(number, swapped=True) for number in numbers}
    return examples(lm.tokenizer, prompts, {SourceKind.PAIRED: paired})


def where_of_io(prompt: Example) -> int:
    """The token of the indirect object, which is named once and is the second candidate."""
    return prompt.input_ids.index(prompt.label_ids[1])


def where_of_s1(prompt: Example) -> int:
    """The token at which the subject, the first candidate, is named first."""
    return prompt.input_ids.index(prompt.label_ids[0])
