"""Adding language models: checked, hashed and proved before anything is recorded. Loads torch."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analyses.checkpoints import fingerprints, refs
from analyses.foreign import in_words
from analyses.hub import HubRevision
from analyses.language_model import LanguageModel
from tracker.db import Sessions, transaction
from tracker.domain import Model
from tracker.errors import TrackerError, check_length
from tracker.home import Home
from tracker.store import models as store


class NameTaken(TrackerError):
    def __init__(self, name: str, ref: str, other: str) -> None:
        super().__init__(
            f"{ref} would be called {name!r}, as {other} is already. "
            "Choose a name with --name; the same name means: use this one from now on."
        )


def _check_free(name: str, ref: str, sessions: Sessions) -> None:
    """A name that nobody chose must not take another model's place."""
    with transaction(sessions) as session:
        others = {m.ref for m in store.all_models(session) if m.name == name} - {ref}
    if others:
        raise NameTaken(name, ref, sorted(others)[0])


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
    source = refs.parse(ref, roots=roots)
    named = name or (_file_name(source) if isinstance(source, Path) else source.name)
    check_length("model", named)
    if name is None:
        _check_free(named, str(source), sessions)
    with in_words(f"Reading {ref}"):
        files = refs.fetched(ref, cache=home.models, roots=roots)
        fingerprint = fingerprints.fingerprint(files, remembered=refs.hashes(home.models))
    lm = LanguageModel.load(files.folder, dtype=dtype, device="cpu")
    with transaction(sessions) as session:
        return store.add_model(
            session,
            name=named,
            ref=str(source),
            revision=source.revision if isinstance(source, HubRevision) else fingerprint[:40],
            dtype=dtype,
            fingerprint=fingerprint,
            family=lm.shape.family,
            **store.shape_facts(lm.shape),
            **asdict(lm.limits),
        )


def _file_name(path: Path) -> str:
    return path.stem if path.is_file() else path.name
