"""Token positions of the named parts of a prompt, whatever it asks.

Character spans recorded while the text was built are mapped through the tokenizer's offsets; the
resulting tokens are decoded and compared with the text. Nothing is searched for in the text, so an
article "A" is never mistaken for a label.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from analyses.errors import Refused, did_you_mean, shown

Tokens = frozenset[int]  # as indices into `TokenizedPrompt.input_ids`
FINAL = "final"  # the name of the final position


class NoSuchSite(Refused):
    def __init__(self, site: str, number: int, known: Collection[str]) -> None:
        super().__init__(
            f"Prompt {number} has no place named {shown(site)}.{did_you_mean(site, known)} Its "
            f"places: {', '.join(known) or 'none, since it has no spans'}."
        )


class UnknownSite(Refused):
    def __init__(self, parameter: str, site: str, known: Collection[str]) -> None:
        names = list(map(str, known))  # as text, where they are members of an enum
        super().__init__(
            f"Invalid {parameter} {shown(site)}: the prompts have no such position."
            f"{did_you_mean(site, names)} "
            + (f"Choose from {', '.join(names)}." if names else "They have no spans.")
        )


def check_known(parameter: str, site: str, known: Collection[str]) -> None:
    """Raises `UnknownSite`, which names the parameter, if its site is not a known one."""
    if site not in known:
        raise UnknownSite(parameter, site, known)


@dataclass(frozen=True, kw_only=True)
class Places(ABC):
    """The tokens of one prompt's parts, as indices into `TokenizedPrompt.input_ids`."""

    number: int
    final: int  # the last token, from which the label is predicted

    @property
    @abstractmethod
    def sites(self) -> tuple[str, ...]:
        """The names that `at` knows."""

    @abstractmethod
    def at(self, site: str) -> tuple[int, ...]:
        """The positions of a site: as many for every prompt of a distribution.

        Raises a `Refused` if the prompt has no such site.
        """

    @abstractmethod
    def key_groups(self, correct: Collection[int]) -> Mapping[str, Tokens]:
        """Groups of tokens by meaning, to measure what a head attends to.

        The first ones partition the tokens, others are subsets; `correct` are indices of labels.
        """

    @property
    @abstractmethod
    def filler(self) -> tuple[int, ...]:
        """Tokens that no site is among, to compare a site with; at least one."""


def check_site(parameter: str, site: str, places: Places) -> None:
    """Raises a `Refused` if the prompt has no such site; it names the parameter."""
    if site != FINAL:
        check_known(parameter, site, places.sites)
    places.at(site)


def span(first: int, last: int) -> Tokens:
    """The tokens from the first to the last."""
    return frozenset(range(first, last + 1))


def without_overlap(claims: Mapping[str, Collection[int]]) -> dict[str, Tokens]:
    """A partition: each token is in the first group that claims it."""
    taken: Tokens = frozenset()
    groups = {}
    for name, claimed in claims.items():
        groups[name] = frozenset(claimed) - taken
        taken |= groups[name]
    return groups
