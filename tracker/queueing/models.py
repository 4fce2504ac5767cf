"""Adds language models: checks and hashes them; proves them here or by a worker. Loads torch."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analyses import names
from analyses.checkpoints import contents as checkpoint_contents
from analyses.checkpoints import refs
from analyses.checkpoints.contents import Contents
from analyses.checkpoints.refs import Shipped
from analyses.foreign import in_words
from analyses.hub import HubRevision
from analyses.language_model import LanguageModel
from analyses.pretrained import expected_shape, torch_dtype
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
    """Load and prove a model, then record it. Raises `Refused` if a layer does not close.

    The default name is the one that these weights already have, or that of the file.
    """
    contents, resolved_name, identity = _read(ref, name, dtype, home, roots, sessions)
    lm = LanguageModel.load(
        contents.files.folder,
        dtype=dtype,
        device="cpu",
        expect=contents.fingerprint,
        cache=home.models,
    )
    with transaction(sessions) as session:
        return store.add_model(
            session,
            name=resolved_name,
            family=lm.shape.family,
            **identity,
            n_bytes=lm.n_bytes,
            **store.shape_facts(lm.shape),
            **asdict(lm.limits),
        )


def record_model(
    ref: str,
    *,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> Model:
    """Hash and record a model for a worker to prove; its runs can be queued, and wait for that.

    Until it is proved, its sizes are those in its config. A model that already exists and is
    proved does not change. Names are as in `add_model`.
    """
    torch_dtype(dtype)
    contents, resolved_name, identity = _read(ref, name, dtype, home, roots, sessions)
    with in_words(f"Reading {ref}"):
        shape = expected_shape(contents)
    facts = store.shape_facts(shape) | {"shapes": None}
    with transaction(sessions) as session:
        return store.add_unproved(
            session, name=resolved_name, family=shape.family, **identity, **facts
        )


def _read(
    ref: str,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> tuple[Contents, str, dict[str, str]]:
    """The contents of its files, its name, and the columns that identify it."""
    source = refs.parse(ref, roots=roots)
    names.checked_line("place of the model", str(source), most=_LONGEST_REF)
    if name is not None:
        names.checked("model", name)
    with in_words(f"Reading {ref}"):
        files = refs.fetched(ref, cache=home.models, roots=roots)
        contents = checkpoint_contents.of(files, remembered=refs.hashes(home.models))
    fingerprint = contents.fingerprint
    identity = {
        "ref": str(source),
        "revision": source.revision if isinstance(source, HubRevision) else fingerprint[:40],
        "dtype": dtype,
        "fingerprint": fingerprint,
    }
    with transaction(sessions) as session:
        known_name = store.name_of_weights(session, **identity)
        resolved_name = names.checked("model", name or known_name or _file_name(source))
        store.check_name(session, resolved_name, **identity)  # fail before the model is loaded
    return contents, resolved_name, identity


def _file_name(source: Path | HubRevision | Shipped) -> str:
    if isinstance(source, Path):
        return source.stem if source.is_file() else source.name
    return source.name
