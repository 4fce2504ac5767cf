"""A language model on the Hugging Face hub: pinned to one revision, safetensors only, no code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyses.checkpoints import folders
from analyses.checkpoints.fingerprints import file_sha256
from analyses.errors import Refused

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


class NotOnHub(Refused):
    def __init__(self, which: "HubRevision") -> None:
        super().__init__(
            f"The hub does not show {which}. Check the name and the revision; if the model is "
            f"private or gated, ask for access on its page and run `hf auth login` here."
        )


class HubUnreachable(Refused):
    def __init__(self, which: "HubRevision", error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        super().__init__(
            f"{which} is not on this machine and cannot be fetched from the hub "
            f"({type(error).__name__}: {reason}). Try again later, or copy the cache of a machine "
            f"that has it (HF_HOME)."
        )


class NotDownloaded(Refused):
    def __init__(self, which: "HubRevision") -> None:
        super().__init__(
            f"{which} is not on this machine yet. Run `headbook models add {which}` here."
        )


class CorruptDownload(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is not the file that the hub has: its sha256 differs. Delete the file it "
            f"links to, {path.resolve()}, and add the model again."
        )


@dataclass(frozen=True)
class HubRevision:
    repo: str  # owner/name
    revision: str  # 40 hex digits: a commit, which never changes

    @classmethod
    def parse(cls, ref: str) -> "HubRevision":
        """Raises `BadHubRef`, or `Unpinned` for a branch, a tag or nothing."""
        parts = _REF.fullmatch(ref)
        if parts is None:
            raise BadHubRef(ref)
        repo, revision = parts["repo"], parts["revision"]
        if not re.fullmatch("[0-9a-f]{40}", revision or ""):
            raise Unpinned(repo, revision)
        return cls(repo, revision)

    @property
    def name(self) -> str:
        return self.repo.partition("/")[2]

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}@{self.revision}"


def downloaded(which: HubRevision, *, remembered: Path | None) -> Path:
    """The revision's folder in the hub's own cache, downloaded now where something is missing.

    Config and tokenizer come first: what they rule out costs no large download. The weights' bytes
    must hash to what the hub lists. Without network, what was downloaded before is used.
    """
    folder = _fetch(which, _SMALL)
    folders.read_config(folder)
    _fetch(which, (*_SMALL, *_weights(which, folder)))
    _check_hashes(folders.read(folder).weights, remembered=remembered)
    return folder


def here(which: HubRevision) -> Path:
    """The same, without asking the hub; raises `NotDownloaded`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            which.repo,
            revision=which.revision,
            allow_patterns=list(_SMALL),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        raise NotDownloaded(which) from None
    return Path(folder)


def _fetch(which: HubRevision, names: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = snapshot_download(
            which.repo, revision=which.revision, allow_patterns=list(names), library_name="headbook"
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise NotOnHub(which) from None
    except MemoryError:
        raise
    except Exception as error:  # a connection can break in every way, a disk be full
        raise HubUnreachable(which, error) from error
    return Path(folder)


def _weights(which: HubRevision, folder: Path) -> Sequence[str]:
    """The files that `folders.read` will want, before they are there."""
    names = _listed(which) or {str(path.relative_to(folder)) for path in folder.rglob("*")}
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


def _listed(which: HubRevision) -> set[str]:
    """What the revision holds; nothing when an older client downloaded it."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return {file.path for file in get_cached_repo_tree(which.repo, revision=which.revision)}
    except CachedRepoTreeNotFoundError:
        return set()
