"""Which data can be named in a recipe: shipped sets, files, folders and hub data sets."""

import re
from pathlib import Path
from typing import NamedTuple

from analyses.errors import Refused, did_you_mean, shown

ALL = "all"  # the config that MMLU calls so, and what data sets without configs are taken as
SHIPPED = ("facts", "colours")
FILE, FOLDER, HUB = PREFIXES = ("file:", "folder:", "hub:")

_FOLDER = re.compile(r"folder:(.+?)(?::([\w.-]+):([\w.-]+))?", re.DOTALL)
_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?::([\w.-]+))?@([0-9a-f]{40})")


class UnknownData(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"No data named {shown(name)}.{did_you_mean(name, SHIPPED)} Known data: "
            f"{', '.join(SHIPPED)}, or data of your own: file:/path/questions.jsonl, "
            f"folder:/path, hub:cais/mmlu@REVISION."
        )


class BadHubName(Refused):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{shown(name)} does not name a data set of the hub at a fixed revision. Write "
            f"hub:OWNER/NAME@REVISION, or hub:OWNER/NAME:CONFIG:SPLIT@REVISION, where the "
            f"revision is the 40 hexadecimal digits of a commit."
        )


class HubName(NamedTuple):
    """A data set on the hub, at a revision that never changes."""

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
    found = _FOLDER.fullmatch(name)
    assert found is not None  # `check` has seen the name
    path, config, split = found.groups()
    return FolderName(Path(path), config, split)


def check(name: str) -> None:
    """Raises `UnknownData` or `BadHubName`; whether a file is there is not looked at."""
    if name.startswith(HUB):
        hub_name(name)
    elif name not in SHIPPED and not (
        name.startswith((FILE, FOLDER)) and name.partition(":")[2].strip()
    ):
        raise UnknownData(name)


def hub_name(name: str) -> HubName:
    """The parts of `hub:OWNER/NAME:CONFIG:SPLIT@REVISION`; raises `BadHubName`."""
    found = _HUB.fullmatch(name)
    if not found:
        raise BadHubName(name)
    repo, config, split, revision = found.groups()
    return HubName(repo, config or ALL, split or "test", revision)
