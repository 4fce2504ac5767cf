"""Counts with the singular or plural of a noun."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A count and its noun: `1 head`, `8 heads`, `2 categories`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
