"""Where a language model comes from: shipped with us, a folder, a GGUF file, or the hub."""

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
            f"{path} is a GGUF file, and there is no folder to keep the converted model in. "
            f"Give one with `cache`."
        )


class NotConverted(Refused):
    def __init__(self, path: Path, cache: Path) -> None:
        super().__init__(
            f"{path} was not converted into {cache} yet. Run `headbook models add {path}` here."
        )


@dataclass(frozen=True)
class Shipped:
    """A model that comes with the package."""

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
    """The names of the models that come with the package."""
    return sorted(path.name for path in _SHIPPED.glob("*") if path.is_dir())


def parse(ref: str, *, roots: Sequence[Path] = ()) -> Path | HubRevision | Shipped:
    """What `ref` names. Folders and files must lie below one of `roots`, if there are any.

    As text, it names the same again: on every host, if it is no path.
    """
    if ref.startswith(hub.PREFIX):
        return hub.parse(ref)
    if ref in shipped():
        return Shipped(ref)
    return folders.resolve(ref, roots=roots)


def fetched(ref: str, *, cache: Path | None, roots: Sequence[Path] = ()) -> ModelFiles:
    """The model as a folder of safetensors, downloaded or converted now where it must be."""
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
    """That of a model that was fetched before; raises `Refused` if it was not.

    With `expect`, the model must have that fingerprint as far as its weights were hashed here.
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
    """The model's folder, without fetching or converting anything."""
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
    """Where the hashes of large files are remembered."""
    return cache / "hashes"
