"""Adding language models: checked, hashed and proved before anything is recorded. Loads torch."""

from collections.abc import Sequence
from pathlib import Path

from analyses.checkpoints import fingerprints, folders, gguf
from analyses.checkpoints.shapes import shape_of
from analyses.language_model import LanguageModel
from tracker.db import Sessions, transaction
from tracker.domain import Model
from tracker.errors import TrackerError
from tracker.home import Home
from tracker.store import models as store


class NameTaken(TrackerError):
    def __init__(self, name: str, path: Path, other: str) -> None:
        super().__init__(
            f"{path} would be called {name!r}, as {other} is already. "
            "Choose a name with --name; the same name means: use this one from now on."
        )


def files_of(ref: str, *, home: Home, roots: Sequence[Path]) -> folders.ModelFiles:
    """The safetensors folder behind a ref; a GGUF file is converted into the home once."""
    path = folders.resolve(ref, roots=roots)
    folder = path if path.is_dir() else gguf.converted(path, cache=home.models)
    return folders.read(folder)


def fingerprint_of(files: folders.ModelFiles, *, home: Home) -> str:
    """sha256 over config, tokenizer and weights; large files are hashed once per home."""
    return fingerprints.fingerprint(files, remembered=hashes(home))


def hashes(home: Home) -> Path:
    """Where the hashes of large files are remembered."""
    return home.models / "hashes"


def _check_free(name: str, path: Path, sessions: Sessions) -> None:
    """A name that nobody chose must not take another model's place."""
    with transaction(sessions) as session:
        others = {m.ref for m in store.all_models(session) if m.name == name} - {str(path)}
    if others:
        raise NameTaken(name, path, sorted(others)[0])


def add_model(
    ref: str,
    *,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> Model:
    """Record a model after it was loaded and proved: every layer closes, or it is refused."""
    path = folders.resolve(ref, roots=roots)
    named = name or (path.stem if path.is_file() else path.name)
    if name is None:
        _check_free(named, path, sessions)
    files = files_of(ref, home=home, roots=roots)
    fingerprint = fingerprint_of(files, home=home)
    shape = shape_of(files.config)
    LanguageModel.load(files.folder, dtype=dtype, device="cpu")
    with transaction(sessions) as session:
        return store.add_model(
            session,
            name=named,
            ref=str(path),
            revision=fingerprint[:40],
            dtype=dtype,
            fingerprint=fingerprint,
            family=shape.family,
            n_layers=shape.n_layers,
            n_heads=shape.n_heads,
            n_kv_heads=shape.n_kv_heads,
            d_model=shape.d_model,
            d_head=shape.d_head,
            d_vocab=shape.d_vocab,
        )
