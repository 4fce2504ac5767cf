"""A language model on the Hugging Face hub: pinned to one revision, safetensors only, no code."""

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
_NAME = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"  # as the hub lets names be
_REF = re.compile(rf"hub:(?P<repo>{_NAME}/{_NAME}(?<!\.git))(?:@(?P<revision>.*))?", re.A | re.S)


class BadHubRef(Refused):
    def __init__(self, ref: str) -> None:
        super().__init__(
            f"{ref!r} names no model on the hub. Write hub:OWNER/NAME@REVISION, as the hub does."
        )


class Unpinned(Refused):
    def __init__(self, repo: str, revision: str | None) -> None:
        said = f"{revision!r} can move" if revision else "it names no revision"
        super().__init__(
            f"hub:{repo} is not pinned: {said}. Give the commit's 40 hex digits, "
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
            f"{path} is not the file that the hub has: its sha256 differs. Delete the file it "
            f"links to, {path.resolve()}, and add the model again."
        )


def parse(ref: str) -> HubRevision:
    """Raises `BadHubRef`, or `Unpinned` for a branch, a tag or nothing."""
    parts = _REF.fullmatch(ref)
    if parts is None:
        raise BadHubRef(ref)
    repo, revision = parts["repo"], parts["revision"]
    if not re.fullmatch("[0-9a-f]{40}", revision or ""):
        raise Unpinned(repo, revision)
    return HubRevision(repo, revision)


def downloaded(which: HubRevision, *, remembered: Path | None) -> Path:
    """The revision's folder in the hub's own cache, downloaded now where something is missing.

    Config and tokenizer come first: what they rule out costs no large download. The weights' bytes
    must hash to what the hub lists.
    """
    folder = hub.fetch(which, _SMALL)
    folders.read_config(folder)
    hub.fetch(which, (*_SMALL, *_weights(which, folder)))
    _check_hashes(folders.read(folder).weights, remembered=remembered)
    return folder


def here(which: HubRevision) -> Path:
    """The same, without asking the hub; raises `NotDownloaded`."""
    folder = hub.fetched(which, _SMALL)
    if folder is None:
        raise NotDownloaded(which)
    return folder


def _weights(which: HubRevision, folder: Path) -> Sequence[str]:
    """The files that `folders.read` will want, before they are there."""
    names = hub.listed(which) or {str(path.relative_to(folder)) for path in folder.rglob("*")}
    if folders.WEIGHTS in names:
        return [folders.WEIGHTS]
    if folders.INDEX in names:
        return folders.read_index(folder)
    raise folders.no_safetensors(folder, names)


def _check_hashes(weights: Sequence[Path], *, remembered: Path | None) -> None:
    """The hub's cache calls a large file's bytes by their sha256, as the hub listed it."""
    for path in weights:
        blob = path.resolve()
        named_so = blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name)
        if named_so and file_sha256(path, remembered=remembered) != blob.name:
            raise CorruptDownload(path)
