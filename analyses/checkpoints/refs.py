"""Resolves a model reference: a shipped model, a folder, a GGUF file, or a hub revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analyses.bounds import TOKENIZER_BYTES
from analyses.checkpoints import contents, folders, gguf, hub
from analyses.checkpoints.folders import MissingFile, ModelFiles
from analyses.errors import Refused
from analyses.hub import HubRevision
from analyses.regular_files import content

_SHIPPED = Path(__file__).parents[1] / "models"


class NoCache(Refused):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is a GGUF file, and no folder was given for the converted model. Pass one as "
            f"`cache`."
        )


class NotConverted(Refused):
    def __init__(self, path: Path, cache: Path) -> None:
        super().__init__(
            f"{path} has not been converted into {cache}. Run `headbook models add {path}` here."
        )


@dataclass(frozen=True)
class Shipped:
    """A model that is shipped with the package."""

    name: str

    @property
    def folder(self) -> Path:
        return _SHIPPED / self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class TokenizerFile:
    path: Path
    text: bytes


def shipped() -> list[str]:
    """The names of the models that are shipped with the package."""
    return sorted(path.name for path in _SHIPPED.glob("*") if path.is_dir())


def parse(ref: str, *, roots: Sequence[Path] = ()) -> Path | HubRevision | Shipped:
    """What `ref` refers to. Raises a `Refused`, such as for a path outside `roots`, if any.

    `str()` of the result is a reference to the same model: on every host, unless it is a path.
    """
    if ref.startswith(hub.PREFIX):
        return hub.parse(ref)
    if ref in shipped():
        return Shipped(ref)
    return folders.resolve(ref, roots=roots)


def fetched(ref: str, *, cache: Path | None, roots: Sequence[Path] = ()) -> ModelFiles:
    """The model's files, downloaded or converted first if necessary. Raises a `Refused`."""
    match parse(ref, roots=roots):
        case HubRevision() as which:
            return folders.read(hub.downloaded(which, remembered=cache and hashes(cache)))
        case Shipped() as ours:
            return folders.read(ours.folder)
        case path if path.is_dir():
            return folders.read(path)
        case path:
            if cache is None:
                raise NoCache(path)
            return folders.read(gguf.converted(path, cache=cache))


def tokenizer(
    ref: str, *, cache: Path, expect: str | None = None, roots: Sequence[Path] = ()
) -> TokenizerFile:
    """The tokenizer of a model that is on this machine. Raises a `Refused` if it is not.

    Raises `Changed` if `expect` is given and differs from the fingerprint, which is known only if
    the weights were hashed here.
    """
    folder = _here(ref, cache=cache, roots=roots)
    path = folders.read_tokenizer(folder)
    if expect is not None:
        try:
            files = folders.read(folder)
        except MissingFile:  # another host may have the weights
            pass
        else:
            text = contents.tokenizer(files, remembered=hashes(cache), expect=expect)
            return TokenizerFile(path, text)
    return TokenizerFile(path, content(path, most=TOKENIZER_BYTES))


def _here(ref: str, *, cache: Path, roots: Sequence[Path]) -> Path:
    """The model's folder, without downloading or converting anything."""
    match parse(ref, roots=roots):
        case HubRevision() as which:
            return hub.here(which)
        case Shipped() as ours:
            return ours.folder
        case path if path.is_dir():
            return path
        case path:
            folder = gguf.folder_of(path, cache=cache)
            if not folder.is_dir():
                raise NotConverted(path, cache)
            return folder


def hashes(cache: Path) -> Path:
    """The folder that caches the hashes of large files."""
    return cache / "hashes"
