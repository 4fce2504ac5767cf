"""Label schemes: what the options of a prompt are called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from analyses.errors import Refused, did_you_mean, shown
from analyses.prompts.streams import Stream

MOST_OPTIONS = 10
LIST = "list:"
# Each is a single SmolLM2 token after a bracket, after a space and in an option's line.
SYMBOLS = ("&", "^", "|", "£", "§", "©", "±", "•", "€", "→")

Draw = Callable[[int, Stream], tuple[str, ...]]


class UnknownLabels(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No labels named {shown(name)}.{did_you_mean(name, SCHEMES)} "
            f"Known labels: {', '.join(SCHEMES)}, or a list of your own such as {LIST}W,X,Y,Z."
        )


class UnusableLabels(Refused):
    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"The labels {shown(name)} cannot be used: {reason}. Write a list such as "
            f"{LIST}W,X,Y,Z, with at least as many labels as options, all different and none empty."
        )


class TooFewLetters(Refused):
    def __init__(self, labels: Sequence[str], wanted: int, left: int) -> None:
        super().__init__(
            f"{wanted} letters other than the labels {list(labels)} are needed, but only {left} of "
            f"A to Z are left. Use fewer options."
        )


@dataclass(frozen=True)
class Scheme:
    """How the labels of a prompt are drawn: a description, and a function of their number."""

    meaning: str
    draw: Draw


def _first(k: int, stream: Stream) -> tuple[str, ...]:
    return tuple(ascii_uppercase[:k])


def _random(k: int, stream: Stream) -> tuple[str, ...]:
    return tuple(stream.sample(ascii_uppercase, k))


def _shuffled(k: int, stream: Stream) -> tuple[str, ...]:
    first = tuple(ascii_uppercase[:k])
    drawn = first
    while drawn == first:
        drawn = tuple(stream.shuffled(first))
    return drawn


def _ordered(k: int, stream: Stream) -> tuple[str, ...]:
    start = stream.below(len(ascii_uppercase) - k + 1)
    return tuple(ascii_uppercase[start : start + k])


def _numbers(k: int, stream: Stream) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, k + 1))


def _symbols(k: int, stream: Stream) -> tuple[str, ...]:
    return SYMBOLS[:k]


SCHEMES: Mapping[str, Scheme] = {
    "ABCD": Scheme("the first letters of the alphabet", _first),
    "random_letters": Scheme("other letters in every prompt", _random),
    "shuffled": Scheme("the first letters, in another order in every prompt", _shuffled),
    "ordered_letters": Scheme("a run of letters from a random start", _ordered),
    "numbers": Scheme("1, 2, 3 …", _numbers),
    "symbols": Scheme(" ".join(SYMBOLS), _symbols),
}


def check(name: str, k: int) -> None:
    """Raises `UnknownLabels` or `UnusableLabels` if `k` labels cannot be drawn."""
    if name.startswith(LIST):
        _listed(name, k)
    elif name not in SCHEMES:
        raise UnknownLabels(name)


def draw(name: str, k: int, stream: Stream) -> tuple[str, ...]:
    """The labels of one prompt."""
    check(name, k)
    return _listed(name, k) if name.startswith(LIST) else SCHEMES[name].draw(k, stream)


def are_first_letters(name: str, k: int) -> bool:
    """Whether the labels of every prompt are A, B, C … in this order."""
    first = tuple(ascii_uppercase[:k])
    return name == "ABCD" or (name.startswith(LIST) and _listed(name, k) == first)


def other_letters(labels: Sequence[str], stream: Stream) -> tuple[str, ...]:
    """As many letters as there are labels, none of them among the labels."""
    left = [letter for letter in ascii_uppercase if letter not in labels]
    if len(left) < len(labels):
        raise TooFewLetters(labels, len(labels), len(left))
    return tuple(stream.sample(left, len(labels)))


def _listed(name: str, k: int) -> tuple[str, ...]:
    labels = tuple(each.strip() for each in name.removeprefix(LIST).split(","))
    if not all(labels):
        raise UnusableLabels(name, "one of them is empty")
    if any(len(each.split()) > 1 or not each.isprintable() for each in labels):
        raise UnusableLabels(name, "one of them is more than one word")
    if len(set(labels)) < len(labels):
        twice = next(each for each in labels if labels.count(each) > 1)
        raise UnusableLabels(name, f"{twice!r} appears twice")
    if len(labels) < k:
        raise UnusableLabels(name, f"it has {len(labels)} labels for {k} options")
    return labels[:k]
