"""Adding language models: checked and hashed, and proved here or by a worker. Loads torch."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from analyses import names
from analyses.checkpoints import contents, refs
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
    """Record a model after it was loaded and proved: every layer closes, or it is refused.

    Without a name it has that of the same weights, or that of its file.
    """
    read, named, identity = _read(ref, name, dtype, home, roots, sessions)
    lm = LanguageModel.load(
        read.files.folder, dtype=dtype, device="cpu", expect=read.fingerprint, cache=home.models
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


def record_model(
    ref: str,
    *,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> Model:
    """Record a model that a worker is to prove; runs of it may be queued, and wait for that.

    It is hashed here, and has the sizes that its config says until it is proved. A model that is
    there and proved stays as it is. Names are as in `add_model`.
    """
    torch_dtype(dtype)
    read, named, identity = _read(ref, name, dtype, home, roots, sessions)
    with in_words(f"Reading {ref}"):
        shape = expected_shape(read)
    facts = store.shape_facts(shape) | {"shapes": None}
    with transaction(sessions) as session:
        return store.add_unproved(session, name=named, family=shape.family, **identity, **facts)


def _read(
    ref: str,
    name: str | None,
    dtype: str,
    home: Home,
    roots: Sequence[Path],
    sessions: Sessions,
) -> tuple[Contents, str, dict[str, str]]:
    """What its files hold, what it is to be called, and what makes it this model and no other."""
    source = refs.parse(ref, roots=roots)
    names.checked_line("place of the model", str(source), most=_LONGEST_REF)
    if name is not None:
        names.checked("model", name)
    with in_words(f"Reading {ref}"):
        files = refs.fetched(ref, cache=home.models, roots=roots)
        read = contents.of(files, remembered=refs.hashes(home.models))
    identity = {
        "ref": str(source),
        "revision": source.revision if isinstance(source, HubRevision) else read.fingerprint[:40],
        "dtype": dtype,
        "fingerprint": read.fingerprint,
    }
    with transaction(sessions) as session:
        known = store.name_of_weights(session, **identity)
        named = names.checked("model", name or known or _file_name(source))
        store.check_name(session, named, **identity)  # before the work
    return read, named, identity


def _file_name(source: Path | HubRevision | Shipped) -> str:
    if isinstance(source, Path):
        return source.stem if source.is_file() else source.name
    return source.name
