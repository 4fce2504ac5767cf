"""Finds the token positions of a prompt's parts, of a question or of a completion."""

from tokenizers import Tokenizer

from analyses.prompts.completion_places import completion_places
from analyses.prompts.places import Places
from analyses.prompts.prompt import CompletionPrompt, Prompt, QuestionPrompt
from analyses.prompts.question_places import question_places
from analyses.prompts.token_index import TokenIndex
from analyses.prompts.tokenization import read


def places(tokenizer: Tokenizer, prompt: Prompt) -> Places:
    """The token positions of a prompt's parts.

    Raises `LabelSharesItsToken`, or `PlaceIsUnsure` if decoded tokens do not match the text.
    """
    reading = read(tokenizer, prompt)
    index = TokenIndex(tokenizer, prompt, reading.tokens)
    before = len(reading.leading)
    match prompt:
        case QuestionPrompt():
            return question_places(prompt, index, before=before)
        case CompletionPrompt():
            return completion_places(prompt, index, before=before)
    raise TypeError(f"not a prompt of a known kind: {prompt!r}")
