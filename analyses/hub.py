"""Downloads files of one Hugging Face hub revision into the hub's own cache; never code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analyses.errors import Refused


class NotOnHub(Refused):
    def __init__(self, which: "HubRevision") -> None:
        super().__init__(
            f"{which} was not found on the hub. Check the name and the revision; if it is private "
            f"or gated, request access on its page and run `hf auth login` here."
        )


class HubUnreachable(Refused):
    def __init__(self, which: "HubRevision", error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        super().__init__(
            f"{which} is not on this machine and cannot be downloaded from the hub "
            f"({type(error).__name__}: {reason}). Try again later, or copy the cache of a machine "
            f"that has it (HF_HOME)."
        )


@dataclass(frozen=True)
class HubRevision:
    repo: str  # owner/name
    revision: str  # 40 hex digits: a commit, which never changes
    kind: Literal["model", "dataset"] = "model"

    @property
    def name(self) -> str:
        return self.repo.partition("/")[2]

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.revision}"


def fetch(which: HubRevision, names: Sequence[str]) -> Path:
    """The folder with the files that match these patterns; downloads those that are missing.

    Without network, files that were downloaded before are used. Raises `NotOnHub` or
    `HubUnreachable`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        folder = snapshot_download(
            which.repo,
            repo_type=which.kind,
            revision=which.revision,
            allow_patterns=list(names),
            library_name="headbook",
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise NotOnHub(which) from None
    except MemoryError:
        raise
    except Exception as error:  # any network error, or a full disk
        raise HubUnreachable(which, error) from error
    return Path(folder)


def fetched(which: HubRevision, names: Sequence[str]) -> Path | None:
    """The folder if it was downloaded before, or None; without network access."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            which.repo,
            repo_type=which.kind,
            revision=which.revision,
            allow_patterns=list(names),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def listed(which: HubRevision) -> set[str]:
    """The files of a revision, known after the first download; empty if an older client made it."""
    return set(sizes(which))


def sizes(which: HubRevision) -> dict[str, int]:
    """The size of each file in bytes; see `listed`."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(which.repo, repo_type=which.kind, revision=which.revision)
    except CachedRepoTreeNotFoundError:
        return {}
    return {file.path: file.size for file in tree}
