"""Adds, renames and finds language models, and gives ids to their components."""

import shlex
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, case, func, null, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from analyses import names
from analyses.checkpoints import hub
from analyses.checkpoints.shapes import LayerShape, ModelShape
from analyses.errors import did_you_mean, shown
from analyses.prompts.limits import Limits
from analyses.results import Component, Kind
from tracker.domain import Model, ProofState
from tracker.errors import TrackerError
from tracker.store import publications
from tracker.tables import ComponentRow, ModelRenamingRow, ModelRow, RunRow

_LOCK = 7_309_461  # key of the advisory lock of everyone who names models; an arbitrary number
_SHAPE = ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab", "shapes")
WEIGHTS = ("ref", "revision", "dtype", "fingerprint")  # columns that identify a model
# Columns that are updated when a model is added again: older versions did not fill all of them.
RENEWED = ("n_embeddings", "max_positions", "trained_positions", "n_bytes")


class UnknownModel(TrackerError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"Model {shown(name)} not found.{did_you_mean(name, known)} "
            f"Known models: {', '.join(known) or 'none'}. "
            "Add one with `headbook models add REF`."
        )


class NamedOtherwise(TrackerError):
    """These weights already have another name, under which all of their runs are shown."""

    def __init__(self, ref: str, name: str, new: str) -> None:
        super().__init__(
            f"{ref} already exists as {name!r}: these are the same weights. Use that name, or "
            "rename it for everybody, past runs included: "
            f"headbook models rename {shlex.join([name, new])}"
        )


class NameTaken(TrackerError):
    def __init__(self, name: str, other: Model) -> None:
        super().__init__(
            f"The name {name!r} is already taken: {other.name!r} is the model of {other.ref}. "
            f"Choose another name (when adding a model, with --name), or rename that one first: "
            f"headbook models rename {shlex.quote(other.name)} NEW"
        )


class ModelRefused(TrackerError):
    def __init__(self, model: Model) -> None:
        super().__init__(
            f"The model {model.name!r} was refused by the worker that tried to prove it: "
            f"{(model.proof_reason or '').rstrip('.')}. Fix that and add it again: "
            f"headbook models add {shlex.quote(model.ref)}"
        )


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """A renaming, with the numbers of models and runs that it affects."""

    old: str
    new: str
    models: int
    runs: int


def to_model(row: ModelRow) -> Model:
    facts = {name: getattr(row, name) for name in Model.__dataclass_fields__}
    facts["proof"] = ProofState(row.proof)
    if row.shapes is not None:
        facts["shapes"] = tuple(LayerShape(**layer) for layer in row.shapes)
    return Model(**facts)


def shape_facts(shape: ModelShape) -> dict[str, Any]:
    """The columns that record the shape of a model, layer by layer."""
    facts = {name: getattr(shape, name) for name in _SHAPE if name != "shapes"}
    return facts | {"shapes": [asdict(layer) for layer in shape.layers]}


def add_model(session: Session, *, name: str, **facts: Any) -> Model:
    """Record a proved model, or update the one with the same ref, revision and dtype.

    A proof that a worker has begun is dropped. An older revision or the same weights in another
    dtype may share the name; nothing is renamed. Raises `NamedOtherwise` and `NameTaken`.
    """
    statement = _insert(session, name, facts)
    updated = [*RENEWED, *(_SHAPE if facts.get("shapes") else ())]
    values = {column: statement.excluded[column] for column in updated}
    was_proved = ModelRow.proof == ProofState.PROVED
    # Runs that were queued before are checked again: the model's sizes were not known.
    proved_at = case((was_proved, ModelRow.proved_at), else_=func.clock_timestamp())
    values |= {**_proof(ProofState.PROVED), "proved_at": proved_at}
    return _recorded(session, statement, values)


def add_unproved(session: Session, *, name: str, **facts: Any) -> Model:
    """Record a model for a worker to prove; a refused one is queued for another proof.

    Any other existing model does not change. Raises `NamedOtherwise` and `NameTaken`.
    """
    statement = _insert(session, name, facts | {"proof": ProofState.UNPROVED})
    refused = ModelRow.proof == ProofState.REFUSED
    updated = {
        column: case((refused, null() if value is None else value), else_=getattr(ModelRow, column))
        for column, value in _proof(ProofState.UNPROVED).items()
    }
    return _recorded(session, statement, updated)


def _insert(session: Session, name: str, facts: dict[str, Any]) -> Insert:
    _take_turn(session)
    facts["name"] = names.checked("model", name)
    check_name(session, name, **{column: facts[column] for column in WEIGHTS})
    return insert(ModelRow).values(**facts)


def _recorded(session: Session, statement: Insert, updated: dict[str, Any]) -> Model:
    """The inserted row, or the existing one with the updated values."""
    row = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[ModelRow.ref, ModelRow.revision, ModelRow.dtype], set_=updated
        ).returning(ModelRow),
        execution_options={"populate_existing": True},
    ).one()
    return to_model(row)


def _proof(state: ProofState) -> dict[str, Any]:
    """The proof columns of a model whose proof starts over, or is done by the adding process."""
    return {
        "proof": state.value,
        "proof_reason": None,
        "proof_epoch": ModelRow.proof_epoch + 1,
        "proof_worker": None,
        "proof_expires_at": None,
        "proof_attempts": 0,
        "refused_memory": None,
    }


def name_of_weights(
    session: Session, *, ref: str, revision: str, dtype: str, fingerprint: str
) -> str | None:
    """The name that these weights already have in that dtype, preferably at that ref."""
    same = and_(ModelRow.fingerprint == fingerprint, ModelRow.dtype == dtype)
    same_ref = and_(ModelRow.ref == ref, ModelRow.revision == revision)
    preferred = same_ref.desc(), ModelRow.id.desc()
    return session.scalars(select(ModelRow.name).where(same).order_by(*preferred).limit(1)).first()


def check_name(
    session: Session, name: str, *, ref: str, revision: str, dtype: str, fingerprint: str
) -> None:
    """Raises `NamedOtherwise` or `NameTaken` if a model cannot be added under that name.

    The same weights in another dtype are another model, and may have another name. Older versions
    allowed one name for several weights and several names for the same weights: existing names
    stay.
    """
    models = all_models(session)
    existing = [
        model
        for model in models
        if (model.ref, model.revision, model.dtype) == (ref, revision, dtype)
    ]
    same = existing or [
        model for model in models if (model.fingerprint, model.dtype) == (fingerprint, dtype)
    ]
    if same and name not in {model.name for model in same}:
        raise NamedOtherwise(ref, same[0].name, name)
    for model in models:
        related = model.fingerprint == fingerprint or _without_revision(
            model.ref
        ) == _without_revision(ref)
        if model.name == name and related:
            return
    for model in models:
        if names.alike(model.name) == names.alike(name):
            raise NameTaken(name, model)


def _without_revision(ref: str) -> str:
    """The location of a model, without the revision of a hub ref."""
    return ref.partition("@")[0] if ref.startswith(hub.PREFIX) else ref


def rename(session: Session, old: str, new: str, *, renamed_by: str) -> Renaming:
    """Rename every model of a name, for past runs too, and record who did it.

    Raises `UnknownModel`, `NameTaken` and `BadName`.
    """
    _take_turn(session)
    new = names.checked("model", new)
    old = model_named(session, old).name
    for other in all_models(session):
        if names.alike(other.name) == names.alike(new) and other.name != old:
            raise NameTaken(new, other)
    renamed = select(ModelRow.id).where(ModelRow.name == old)
    ids = session.scalars(renamed.order_by(ModelRow.id).with_for_update()).all()
    run_ids = select(RunRow.id).where(RunRow.model_id.in_(ids))
    runs = session.scalars(select(func.count()).select_from(run_ids.subquery())).one()
    session.execute(update(ModelRow).where(ModelRow.id.in_(ids)).values(name=new))
    session.add(ModelRenamingRow(renamed_by=renamed_by, old_name=old, new_name=new))
    publications.show_anew(session, run_ids)
    return Renaming(old=old, new=new, models=len(ids), runs=runs)


def _take_turn(session: Session) -> None:
    """Keep other transactions from naming models until this one ends."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def record_facts(
    session: Session, model_id: int, shape: ModelShape, limits: Limits, *, n_bytes: int
) -> None:
    """Record a model's shape, limits and size, which older versions did not record."""
    session.execute(
        update(ModelRow)
        .where(ModelRow.id == model_id)
        .values(**shape_facts(shape), **asdict(limits), n_bytes=n_bytes)
    )


def all_models(session: Session) -> list[Model]:
    """Every model, newest first."""
    return [to_model(row) for row in session.scalars(select(ModelRow).order_by(ModelRow.id.desc()))]


def model_named(session: Session, name: str) -> Model:
    """The newest model of that name. Raises `UnknownModel`."""
    models = all_models(session)
    composed = unicodedata.normalize("NFC", name)
    for model in models:
        if model.name == composed:
            return model
    raise UnknownModel(name, sorted({model.name for model in models}))


def check_proof(model: Model) -> None:
    """Raises `ModelRefused` if a worker has refused the model."""
    if model.proof is ProofState.REFUSED:
        raise ModelRefused(model)


def model(session: Session, model_id: int) -> Model:
    """The model of that id."""
    return to_model(session.get_one(ModelRow, model_id))


def component_ids(
    session: Session, model_id: int, components: Iterable[Component]
) -> dict[Component, int]:
    """The ids of the components; new components are recorded first."""
    wanted = sorted(set(components))
    rows = [
        {"model_id": model_id, "kind": c.kind.value, "layer": c.layer, "index": c.index}
        for c in wanted
    ]
    if rows:
        session.execute(insert(ComponentRow).values(rows).on_conflict_do_nothing())
    known = {
        Component(kind=Kind(row.kind), layer=row.layer, index=row.index): row.id
        for row in session.scalars(select(ComponentRow).where(ComponentRow.model_id == model_id))
    }
    return {component: known[component] for component in wanted}
