"""A worker's own copies of tensor files, by hash, until MLflow is known to have them."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tracker.errors import TrackerError
from tracker.home import own_files, ownership
from tracker.home.ownership import NotOurs, NotReadable

_LOCK = "lock"


class CannotKeep(TrackerError):
    """A disk that tensors pass through is full or closed; what was to be stored can be later."""

    def __init__(self, folder: object, error: OSError, *, whose: str | None = None) -> None:
        """`whose` says to which other user the folder belongs."""
        way_out = "Run this worker as its owner" if whose else "Make room there"
        super().__init__(
            f"A tensor file cannot be kept in {folder}: {whose or error.strerror}. {way_out}, or "
            "let HEADBOOK_HOME and TMPDIR name other disks. Nothing is lost, it is tried again."
        )


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A file of the spool when it was listed; a complete file is named by its hash."""

    name: str
    size: int  # bytes
    written: int  # by this host's clock, in nanoseconds
    age: float  # seconds


@dataclass(frozen=True)
class Spool:
    """A folder that the workers of one home share."""

    folder: Path

    def put(self, content: bytes) -> str:
        """Store a file, on disk before this returns; its sha256. Raises `CannotKeep`.

        A file that exists already is written again: it may be damaged, and its age starts anew.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        draft = self.folder / f"{sha256}.{uuid4().hex[:8]}"
        try:
            own_files.make_folders(self.folder)
            _write(draft, content)
            with self._locked():
                draft.rename(self.folder / sha256)
            _sync(self.folder)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            forbidden = isinstance(error, PermissionError)
            whose = ownership.whose(self.folder) if forbidden else None
            raise CannotKeep(self.folder, error, whose=whose) from error
        return sha256

    def path(self, sha256: str) -> Path | None:
        """The file with that hash, verified; a damaged one is deleted. Raises `NotReadable`."""
        path = self.folder / sha256
        try:
            with os.fdopen(own_files.opened(path), "rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        except PermissionError:  # it may exist: nobody may conclude that it is lost
            raise NotReadable(path) from None
        except NotOurs:  # a link or a pipe: as good as damaged
            actual = ""
        if actual != sha256:
            path.unlink(missing_ok=True)
            return None
        return path

    def copies(self) -> list[Copy]:
        """All files, the oldest first, including drafts left by workers that were killed.

        Raises `NotReadable`.
        """
        now = time.time()
        copies = []
        for path in own_files.entries(self.folder):
            try:
                stat = path.lstat()
            except FileNotFoundError:  # another worker of this home has just deleted it
                continue
            if path.name != _LOCK:
                age = now - stat.st_mtime
                written = stat.st_mtime_ns
                copies.append(Copy(name=path.name, size=stat.st_size, written=written, age=age))
        return sorted(copies, key=lambda copy: copy.written)

    def remove(self, copy: Copy) -> bool:
        """Delete a file; False if it has been written again since it was listed."""
        path = self.folder / copy.name
        with self._locked():
            try:
                if path.stat().st_mtime_ns != copy.written:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = own_files.opened(self.folder / _LOCK, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _write(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _sync(folder: Path) -> None:
    """Without this, a power failure may undo a rename."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
