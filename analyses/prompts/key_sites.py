"""Key sites: the tokens whose keys and values are read, or outputs replaced.

Of a question they are a token of every option; of a completion, the last token of a span.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from analyses.errors import Refused
from analyses.prompts import data_names, tasks
from analyses.prompts.spec import DistributionSpec

SiteName = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


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


def usual(spec: DistributionSpec) -> Mapping[str, str]:
    """The parameter `key_site` of a shipped task; a user's own completions need one named."""
    known = spec.data in data_names.TASKS
    return {"key_site": tasks.task(spec.data).key_site} if known else {}
