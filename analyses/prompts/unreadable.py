"""Parts of prompts that a tokenizer cannot read: those of all prompts are reported at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from analyses.errors import Refused, shown

MOST_NAMED = 50  # problems in a message
MOST_PLACES = 5  # prompts with the same problem


class Unreadable(Refused):
    """A part of a prompt that the tokenizer cannot read; `where` is the prompt."""

    def __init__(self, where: str, *, failure: str, of: str, why: str, fix: str) -> None:
        self.where, self.reason = where, f"{failure}: {why}"
        super().__init__(f"{failure[0].upper()}{failure[1:]} {of} {where}: {why}. {fix}")


class LabelIsNotOneToken(Unreadable):
    def __init__(
        self, where: str, what: str, label: str, before: Sequence[str], after: Sequence[str]
    ) -> None:
        other = "a template with another ending" if what == "label" else "another model"
        super().__init__(
            where,
            failure=f"the {what} {label!r} is not one token",
            of="after",
            why=f"the text ends in the tokens {list(before)}, and with the {what} in {list(after)}",
            fix=f"Choose other {what}s, or {other}.",
        )


class LabelIsUnknown(Unreadable):
    def __init__(self, where: str, what: str, label: str, token: str) -> None:
        super().__init__(
            where,
            failure=f"the tokenizer does not know the {what} {label!r}",
            of="of",
            why=f"it reads {token!r}",
            fix=f"Choose other {what}s.",
        )


class PartIsUnknown(Unreadable):
    def __init__(self, where: str, what: str, text: str, tokens: Sequence[str]) -> None:
        super().__init__(
            where,
            failure=f"the tokenizer does not know all of the {what} {shown(text)}",
            of="of",
            why=f"it reads {shown(list(tokens))}",
            fix="Choose other data, or another model.",
        )


class SameTokens(Refused):
    """The tokens of two labels or options of a prompt are equal, so it has no single answer."""

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        lines = _lines(found)
        super().__init__(
            "The model's tokenizer reads two labels, options or candidates of one prompt as the "
            f"same tokens ({len(lines)} found). Choose other labels, fix or remove the prompts, or "
            "use another model:\n" + _few(lines)
        )


class SeveralUnreadable(Refused):
    """Several problems; the first line of the message is the first problem's own message."""

    def __init__(self, first: Unreadable, found: Sequence[tuple[str, str]]) -> None:
        lines = _lines(found)
        super().__init__(f"{first}\nAll problems ({len(lines)}):\n{_few(lines)}")


class Problems:
    """The problems of all prompts, each with the prompt it was found in."""

    def __init__(self) -> None:
        self._first: Unreadable | None = None
        self._found: list[tuple[str, str]] = []

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Add the problem that is raised inside, if any."""
        try:
            yield
        except Unreadable as problem:
            self.add(problem)

    def add(self, problem: Unreadable) -> None:
        self._first = self._first or problem
        self._found.append((problem.where, problem.reason))

    def add_same(self, where: str, reason: str) -> None:
        """Add two labels or options whose tokens are equal, in words."""
        self._found.append((where, reason))

    def check(self) -> None:
        """Raises what was found as one `Refused`, if anything was."""
        if self._first is not None:
            several = len(set(self._found)) > 1
            raise SeveralUnreadable(self._first, self._found) if several else self._first
        if self._found:
            raise SameTokens(self._found)


def _lines(found: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each reason, with the prompts that it applies to."""
    places: dict[str, dict[str, None]] = {}
    for where, reason in found:
        places.setdefault(reason, {})[where] = None
    return [f"  {_named(list(each))}: {reason}" for reason, each in places.items()]


def _named(places: Sequence[str]) -> str:
    more = len(places) - MOST_PLACES
    return ", ".join(islice(places, MOST_PLACES)) + (f" and {more} more" if more > 0 else "")


def _few(lines: Sequence[str]) -> str:
    more = [f"  and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
    return "\n".join([*lines[:MOST_NAMED], *more])
