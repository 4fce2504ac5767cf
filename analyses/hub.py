"""Files of the Hugging Face hub at one revision, in the hub's own cache; never code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analyses.errors import Refused


class NotOnHub(Refused):
    def __init__(self, which: "HubRevision") -> None:
        super().__init__(
            f"The hub does not show {which}. Check the name and the revision; if it is private or "
            f"gated, ask for access on its page and run `hf auth login` here."
        )


class HubUnreachable(Refused):
    def __init__(self, which: "HubRevision", error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        super().__init__(
            f"{which} is not on this machine and cannot be fetched from the hub "
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
    """The folder with these files (patterns), downloaded now where they are not there yet.

    Without network, what was downloaded before is used.
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
    except Exception as error:  # a connection can break in every way, a disk be full
        raise HubUnreachable(which, error) from error
    return Path(folder)


def fetched(which: HubRevision, names: Sequence[str]) -> Path | None:
    """The folder if these files were fetched before; the hub is not asked."""
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
    """What the revision holds, after a first fetch; nothing when an older client made that."""
    return set(sizes(which))


def sizes(which: HubRevision) -> dict[str, int]:
    """The same, with the bytes of each file."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(which.repo, repo_type=which.kind, revision=which.revision)
    except CachedRepoTreeNotFoundError:
        return {}
    return {file.path: file.size for file in tree}
