"""Models on the Hugging Face hub: pinned to a commit, safetensors only, no code."""

import re
from collections.abc import Sequence
from pathlib import Path

from analyses import hub
from analyses.checkpoints import folders
from analyses.checkpoints.hashes import file_sha256
from analyses.errors import Refused
from analyses.hub import HubRevision

PREFIX = "hub:"
_SMALL = (folders.CONFIG, folders.TOKENIZER, folders.INDEX)
_SHA256 = re.compile("[0-9a-f]{64}")
_NAME = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"  # the hub's rules
_REF = re.compile(rf"hub:(?P<repo>{_NAME}/{_NAME}(?<!\.git))(?:@(?P<revision>.*))?", re.A | re.S)


class BadHubRef(Refused):
    def __init__(self, ref: str) -> None:
        super().__init__(
            f"{ref!r} is not a valid name of a model on the hub. Write hub:OWNER/NAME@REVISION."
        )


class Unpinned(Refused):
    def __init__(self, repo: str, revision: str | None) -> None:
        why = f"{revision!r} can move" if revision else "it names no revision"
        super().__init__(
            f"hub:{repo} is not pinned: {why}. Give the 40 hex digits of a commit, "
            f"hub:{repo}@REVISION; https://huggingface.co/{repo}/commits/main lists them."
        )


class NotDownloaded(Refused):
    def __init__(self, which: HubRevision) -> None:
        super().__init__(
            f"{which} is not on this machine yet. Run `headbook models add {which}` here."
        )


class CorruptDownload(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} differs from the file on the hub: its sha256 is another. Delete the file it "
            f"links to, {path.resolve()}, and add the model again."
        )


def parse(ref: str) -> HubRevision:
    """The repository and commit in `hub:OWNER/NAME@REVISION`.

    Raises `BadHubRef`, or `Unpinned` if the revision is missing or not a commit.
    """
    parts = _REF.fullmatch(ref)
    if parts is None:
        raise BadHubRef(ref)
    repo, revision = parts["repo"], parts["revision"]
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        raise Unpinned(repo, revision)
    return HubRevision(repo, revision)


def downloaded(which: HubRevision, *, remembered: Path | None) -> Path:
    """The revision's folder in the hub's cache; downloads the files that are missing.

    Config and tokenizer come first, so that an unsupported model costs no large download. Raises
    `CorruptDownload` if a weight file does not have the sha256 that the hub lists.
    """
    folder = hub.fetch(which, _SMALL)
    folders.read_config(folder)
    hub.fetch(which, (*_SMALL, *_weights(which, folder)))
    _check_hashes(folders.read(folder).weights, remembered=remembered)
    return folder


def here(which: HubRevision) -> Path:
    """The revision's folder, without network access. Raises `NotDownloaded` if it is missing."""
    folder = hub.fetched(which, _SMALL)
    if folder is None:
        raise NotDownloaded(which)
    return folder


def _weights(which: HubRevision, folder: Path) -> Sequence[str]:
    """The weight files that `folders.read` needs, before they are downloaded."""
    names = hub.listed(which) or {str(path.relative_to(folder)) for path in folder.rglob("*")}
    if folders.WEIGHTS in names:
        return [folders.WEIGHTS]
    if folders.INDEX in names:
        return folders.read_index(folder)
    raise folders.no_safetensors(folder, names)


def _check_hashes(weights: Sequence[Path], *, remembered: Path | None) -> None:
    """Raises `CorruptDownload`. The hub's cache names large files by the sha256 the hub lists."""
    for path in weights:
        blob = path.resolve()
        has_sha256 = blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name)
        if has_sha256 and file_sha256(path, remembered=remembered) != blob.name:
            raise CorruptDownload(path)
