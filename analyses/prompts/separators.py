"""The text around a label: in its option's line, before the answer, and after a solved one."""

from collections.abc import Mapping
from dataclasses import dataclass

AUTO = "auto"  # the template's separators


@dataclass(frozen=True, kw_only=True)
class Separators:
    """An option's line is `before label after option\\n`; a prompt ends in `tail`.

    The label follows the tail after `joint`, and `closing` follows the label of a solved question.
    """

    before: str
    after: str
    tail: str
    joint: str
    closing: str


def _bare(after: str) -> Separators:
    return Separators(before="", after=after, tail="Answer:", joint=" ", closing="\n\n")


SEPARATORS: Mapping[str, Separators] = {
    "(A)": Separators(before="(", after=") ", tail="Answer: (", joint="", closing=")\n\n"),
    "A.": _bare(". "),
    "A)": _bare(") "),
    "A:": _bare(": "),
}
