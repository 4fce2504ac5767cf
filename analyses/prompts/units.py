"""Units: texts that belong together, which are all in train or all in test."""


class Units:
    """Sets of texts, joined pair by pair; each is called by the first of its texts in order."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        """Put both texts, and all that belong with them, into one unit."""
        first, second = sorted((self.of(one), self.of(other)))
        self._before[second] = first

    def of(self, text: str) -> str:
        """The first text of the unit that a text is in; spaces in texts do not count."""
        spaced = " ".join(text.split())
        key = text if spaced == text else spaced
        before = self._before
        while (first := before.setdefault(key, key)) != key:
            before[key] = before[first]  # shorten the way
            key = first
        return key
