"""Completions in the words of the small tokenizer, beside counterfactuals of other lengths."""

from collections.abc import Mapping, Sequence

from analyses.language_model import LanguageModel
from analyses.prompts.completions import Completion
from analyses.prompts.examples import Example, examples
from analyses.prompts.prompt import CompletionPrompt, completion_prompt
from analyses.prompts.slots import filled
from analyses.prompts.sources import SourceKind

TEMPLATES = ("Answer: {who} red ({what}) 1", "({what}) blue {who} 1")
CANDIDATES = ("3", "4", "5", "6")
PAIRS: Sequence[tuple[int, Mapping[str, str], Mapping[str, str]]] = (
    (0, {"who": "A", "what": "xy"}, {"who": "B", "what": "xyz"}),
    (0, {"who": "A", "what": "xy"}, {"who": "A", "what": "zy"}),
    (1, {"who": "AB", "what": "x"}, {"who": "C", "what": "x"}),
    (1, {"who": "C", "what": "xyz"}, {"who": "B", "what": "zx"}),
    (0, {"who": "C", "what": "x"}, {"who": "AC", "what": "y"}),
)


def prompt(
    number: int, template: int, values: Mapping[str, str], correct: tuple[int, ...] = (2, 3)
) -> CompletionPrompt:
    """One of the candidates above a digit; two of them are correct."""
    text, spans = filled(TEMPLATES[template], values)
    completion = Completion(
        text=text, joint="", candidates=CANDIDATES, correct=correct, spans=spans
    )
    return completion_prompt(number, f"made/{number}", completion, {})


def read_completions(
    lm: LanguageModel,
    pairs: Sequence[tuple[int, Mapping[str, str], Mapping[str, str]]] = PAIRS,
    *,
    copies: bool = False,
) -> list[Example]:
    """The prompts beside their counterfactuals, which may be copies of themselves."""
    own = [prompt(number, template, one) for number, (template, one, _) in enumerate(pairs)]
    others = {
        number: prompt(number, template, one if copies else other, (0,))
        for number, (template, one, other) in enumerate(pairs)
    }
    return examples(lm.tokenizer, own, {SourceKind.PAIRED: others})
