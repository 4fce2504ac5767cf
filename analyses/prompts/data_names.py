"""Names of data in a recipe: shipped data sets, files, folders and hub data sets."""

import re
from pathlib import Path
from typing import NamedTuple

from analyses.errors import Refused, did_you_mean, shown

ALL = "all"  # MMLU's config with this name, and the config of data sets without configs
SHIPPED = ("facts", "colours")  # questions
TASKS = (  # completions
    *("ioi", "greater_than", "greater_than_digits", "capitals", "languages", "opposites"),
    "arithmetic",
)
FILE, FOLDER, HUB = PREFIXES = ("file:", "folder:", "hub:")

_FOLDER = re.compile(r"folder:(.+?)(?::([\w.-]+):([\w.-]+))?", re.DOTALL)
_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?::([\w.-]+))?@([0-9a-f]{40})")


class UnknownData(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No data named {shown(name)}.{did_you_mean(name, (*SHIPPED, *TASKS))} Known data: "
            f"{', '.join((*SHIPPED, *TASKS))}, or data of your own: file:/path/questions.jsonl, "
            f"folder:/path, hub:cais/mmlu@REVISION."
        )


class BadHubName(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{shown(name)} does not name a hub data set at a fixed revision. Write "
            f"hub:OWNER/NAME@REVISION, or hub:OWNER/NAME:CONFIG:SPLIT@REVISION, where the "
            f"revision is the 40 hexadecimal digits of a commit."
        )


class HubName(NamedTuple):
    """A data set on the hub, pinned to a commit."""

    repo: str
    config: str
    split: str
    revision: str


class FolderName(NamedTuple):
    """A folder of questions: all files in it, or those of one config and split."""

    path: Path
    config: str | None
    split: str | None


def folder_name(name: str) -> FolderName:
    """The parts of `folder:/path`, or of `folder:/path:CONFIG:SPLIT`."""
    match = _FOLDER.fullmatch(name)
    assert match is not None  # the name has passed `check`
    path, config, split = match.groups()
    return FolderName(Path(path), config, split)


def check(name: str) -> None:
    """Raises `UnknownData` or `BadHubName`. Does not check that a file exists."""
    if name.startswith(HUB):
        hub_name(name)
    elif name not in (*SHIPPED, *TASKS) and not (
        name.startswith((FILE, FOLDER)) and name.partition(":")[2].strip()
    ):
        raise UnknownData(name)


def hub_name(name: str) -> HubName:
    """The parts of `hub:OWNER/NAME:CONFIG:SPLIT@REVISION`; raises `BadHubName`."""
    match = _HUB.fullmatch(name)
    if not match:
        raise BadHubName(name)
    repo, config, split, revision = match.groups()
    return HubName(repo, config or ALL, split or "test", revision)
