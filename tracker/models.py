"""Adding language models: checked, hashed and proved before anything is recorded. Loads torch."""

from collections.abc import Sequence
from pathlib import Path

from analyses.checkpoints import fingerprints, folders, gguf
from analyses.checkpoints.shapes import shape_of
from analyses.language_model import LanguageModel
from tracker.db import Sessions, transaction
from tracker.domain import Model
from tracker.home import Home
from tracker.store import models as store


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
    files = files_of(ref, home=home, roots=roots)
    fingerprint = fingerprint_of(files, home=home)
    shape = shape_of(files.config)
    LanguageModel.load(files.folder, dtype=dtype, device="cpu")
    path = folders.resolve(ref, roots=roots)
    with transaction(sessions) as session:
        return store.add_model(
            session,
            name=name or path.stem,
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
