"""Key sites: the token of an option whose keys and values are read, or outputs replaced."""

from enum import StrEnum

from analyses.errors import Refused
from analyses.prompts.places import OptionPlaces, Places


class KeySite(StrEnum):
    LABEL = "label"
    BRACKET = "bracket"  # the token that closes the label
    CONTENT_END = "content_end"  # the option's last token
    OPTION_END = "option_end"  # the end of the option's line


class NoKeySite(Refused):
    def __init__(self, site: KeySite, number: int) -> None:
        super().__init__(
            f"The options of prompt {number} have no separate token for the key site "
            f"{site.value!r} with this template and tokenizer. Use another key site: "
            f"{KeySite.LABEL.value} and {KeySite.CONTENT_END.value} always exist."
        )


def positions(places: Places, site: KeySite) -> tuple[int, ...]:
    """The position of the site's token in each option. Raises `NoKeySite`."""
    for option in places.options:
        if not _has(option, site):
            raise NoKeySite(site, places.number)
    return tuple(_position(option, site) for option in places.options)


def _has(option: OptionPlaces, site: KeySite) -> bool:
    match site:
        case KeySite.BRACKET:
            return option.bracket != option.content_first
        case KeySite.OPTION_END:
            return option.option_end != option.content_last
        case _:
            return True


def _position(option: OptionPlaces, site: KeySite) -> int:
    match site:
        case KeySite.LABEL:
            return option.label
        case KeySite.BRACKET:
            return option.bracket
        case KeySite.CONTENT_END:
            return option.content_last
        case KeySite.OPTION_END:
            return option.option_end
