"""Prompts with everything that an analysis needs: tokens, places, content, companions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from analyses.prompts.locating import places
from analyses.prompts.places import Places
from analyses.prompts.prompt import Prompt, QuestionPrompt
from analyses.prompts.sources import Companion
from analyses.prompts.tokenization import TokenizedPrompt, read, tokenize_all

ANSWER = "\nAnswer:"


@dataclass(frozen=True, kw_only=True)
class Content:
    """The tokens of a question alone, and of each option as its answer, without labels."""

    context: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Example(TokenizedPrompt):
    """A tokenized prompt, with the positions of its parts."""

    labels: tuple[str, ...]
    groups: Mapping[str, str | int]  # by which answers are broken down, such as its template
    places: Places
    content: Content | None  # of a question; None if the labels themselves are the answers
    companions: Mapping[Companion, "Example"]  # prompts made from this one


def examples(
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    companions: Mapping[Companion, Mapping[int, Prompt]] | None = None,
) -> list[Example]:
    """The prompts as examples; `companions` are keyed by kind and the base prompt's number."""
    by_kind = companions or {}
    return [
        _example(
            tokenizer,
            prompt,
            {
                kind: _example(tokenizer, by_number[prompt.number], {})
                for kind, by_number in by_kind.items()
            },
        )
        for prompt in prompts
    ]


def _example(
    tokenizer: Tokenizer, prompt: Prompt, companions: Mapping[Companion, Example]
) -> Example:
    (tokenized,) = tokenize_all(tokenizer, [prompt])
    return Example(
        **vars(tokenized),
        labels=prompt.labels,
        groups=prompt.groups,
        places=places(tokenizer, prompt),
        content=content(tokenizer, prompt) if isinstance(prompt, QuestionPrompt) else None,
        companions=companions,
    )


def content(tokenizer: Tokenizer, prompt: QuestionPrompt) -> Content:
    """The tokens of `question ⏎ Answer:`, and of each option as it continues that text."""
    question = prompt.text[slice(*prompt.question_span)] + ANSWER
    leading = read(tokenizer, prompt).leading
    context = tokenizer.encode(question, add_special_tokens=False).ids
    options = []
    for option in prompt.options:
        whole = tokenizer.encode(f"{question} {option}", add_special_tokens=False).ids
        # If the tokenizer merges the end of the context with what follows, that is predicted too.
        shared = next(
            (n for n, (one, other) in enumerate(zip(context, whole, strict=False)) if one != other),
            min(len(context), len(whole)),
        )
        options.append((shared, tuple(whole)))
    start = min(shared for shared, _ in options)
    return Content(
        context=(*leading, *context[:start]),
        options=tuple(whole[start:] for _, whole in options),
    )
