"""Adding language models: checked, hashed and proved before anything is recorded. Loads torch."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analyses import names
from analyses.checkpoints import contents, refs
from analyses.checkpoints.refs import Shipped
from analyses.foreign import in_words
from analyses.hub import HubRevision
from analyses.language_model import LanguageModel
from tracker.database.db import Sessions, transaction
from tracker.domain import Model
from tracker.home.home import Home
from tracker.store import models as store

_LONGEST_REF = 4096  # characters, as paths of Linux


def add_model(
    ref: str,
    *,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> Model:
    """Record a model after it was loaded and proved: every layer closes, or it is refused.

    Without a name it has that of the same weights, or that of its file.
    """
    source = refs.parse(ref, roots=roots)
    names.checked_line("place of the model", str(source), most=_LONGEST_REF)
    if name is not None:
        names.checked("model", name)
    with in_words(f"Reading {ref}"):
        files = refs.fetched(ref, cache=home.models, roots=roots)
        fingerprint = contents.of(files, remembered=refs.hashes(home.models)).fingerprint
    identity = {
        "ref": str(source),
        "revision": source.revision if isinstance(source, HubRevision) else fingerprint[:40],
        "dtype": dtype,
        "fingerprint": fingerprint,
    }
    with transaction(sessions) as session:
        known = store.name_of_weights(session, **identity)
        named = names.checked("model", name or known or _file_name(source))
        store.check_name(session, named, **identity)  # before the work
    lm = LanguageModel.load(
        files.folder, dtype=dtype, device="cpu", expect=fingerprint, cache=home.models
    )
    with transaction(sessions) as session:
        return store.add_model(
            session,
            name=named,
            family=lm.shape.family,
            **identity,
            n_bytes=lm.n_bytes,
            **store.shape_facts(lm.shape),
            **asdict(lm.limits),
        )


def _file_name(source: Path | HubRevision | Shipped) -> str:
    if isinstance(source, Path):
        return source.stem if source.is_file() else source.name
    return source.name
