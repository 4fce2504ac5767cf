"""Key sites: the token of an option whose keys and values are read, or outputs replaced."""

from enum import StrEnum

from analyses.errors import Refused


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
