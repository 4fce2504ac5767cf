"""Spans whose tokens also hold other parts of the text, so that no position is theirs alone."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from tokenizers import Encoding

from analyses.errors import shown
from analyses.prompts.unreadable import Unreadable
from analyses.prompts.written import Span

FIX = "Choose other spans, or another model."


class SpanHoldsMore(Unreadable):
    def __init__(self, where: str, name: str, span: str, token: str) -> None:
        super().__init__(
            where,
            failure=f"the span {name!r} has no tokens of its own",
            of="in",
            why=f"a token of {shown(span)} is {shown(token)} of the text",
            fix=FIX,
        )


class SpansShareAToken(Unreadable):
    def __init__(self, where: str, one: str, other: str, token: str) -> None:
        super().__init__(
            where,
            failure=f"the spans {one!r} and {other!r} share a token",
            of="in",
            why=f"it is {shown(token)} of the text",
            fix=FIX,
        )


def shared_tokens(
    text: str, spans: Mapping[str, Span], tokens: Encoding, where: str
) -> Iterator[Unreadable]:
    """The spans with letters or digits around them in a token, and pairs that share a token.

    Spans that overlap may share tokens. A number may be read in groups of digits that its parts do
    not end with, as 173 and 2 in 1732, if the parts still end in different tokens.
    """
    offsets = tokens.offsets
    held = {
        name: [(start, stop) for start, stop in offsets if start < span.stop and stop > span.start]
        for name, span in spans.items()
    }
    mixed = set()
    for name, span in spans.items():
        if token := _with_more(text, span, held[name]):
            mixed.add(name)
            yield SpanHoldsMore(where, name, text[slice(*span)], token)
    for one, other in combinations(spans, 2):
        apart = spans[one].stop <= spans[other].start or spans[other].stop <= spans[one].start
        if apart and {one, other}.isdisjoint(mixed) and held[one][-1:] == held[other][-1:] != []:
            yield SpansShareAToken(where, one, other, text[slice(*held[one][-1])])


def _with_more(text: str, span: Span, tokens: list[tuple[int, int]]) -> str | None:
    """The first token that holds a letter or digit outside the span, unless it is all digits."""
    for start, stop in tokens:
        around = text[start : span.start] + text[span.stop : stop]
        token = text[start:stop].strip()
        if any(map(str.isalnum, around)) and not token.isdigit():
            return token
    return None
