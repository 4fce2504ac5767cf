"""Numbers of things, in English."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 head`, `8 heads`, `2 categories`: so many of what a noun names."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
