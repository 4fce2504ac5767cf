"""Adding language models: checked, hashed and proved before anything is recorded. Loads torch."""

from collections.abc import Sequence
from pathlib import Path

from analyses import fingerprints, gguf_files, model_files
from analyses.language_model import LanguageModel
from analyses.model_shape import shape_of
from tracker.db import Sessions, transaction
from tracker.domain import Model
from tracker.home import Home
from tracker.store import models as store


def files_of(ref: str, *, home: Home, roots: Sequence[Path]) -> model_files.ModelFiles:
    """The safetensors folder behind a ref; a GGUF file is converted into the home once."""
    path = model_files.resolve(ref, roots=roots)
    folder = path if path.is_dir() else gguf_files.converted(path, cache=home.models)
    return model_files.read(folder)


def fingerprint_of(files: model_files.ModelFiles, *, home: Home) -> str:
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
    path = model_files.resolve(ref, roots=roots)
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
