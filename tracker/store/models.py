"""Language models and the ids of their components."""

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

_TURN = 7_309_461  # any number; the same for everybody who gives names
_OF_SHAPE = ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab", "shapes")
# What a model that is there already is told anew: older versions did not ask for all of it.
WEIGHTS = ("ref", "revision", "dtype", "fingerprint")  # what makes it another model
RENEWED = ("n_embeddings", "max_positions", "trained_positions", "n_bytes")


class UnknownModel(TrackerError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"No model named {shown(name)}.{did_you_mean(name, known)} "
            f"Known models: {', '.join(known) or 'none'}. "
            "Add one with `headbook models add REF`."
        )


class NamedOtherwise(TrackerError):
    """These weights have a name, which every run of them shows."""

    def __init__(self, ref: str, name: str, asked: str) -> None:
        super().__init__(
            f"{ref} is there already, as {name!r}: these are the same weights. Use that name, or "
            "rename it for everybody, past runs included: "
            f"headbook models rename {shlex.join([name, asked])}"
        )


class NameTaken(TrackerError):
    def __init__(self, name: str, other: Model) -> None:
        super().__init__(
            f"Nothing else can be called {name!r}: {other.name!r} is the model of {other.ref}. "
            f"Choose another name, with --name where one is added, or rename that one first: "
            f"headbook models rename {shlex.quote(other.name)} NEW"
        )


class ModelRefused(TrackerError):
    def __init__(self, model: Model) -> None:
        super().__init__(
            f"The model {model.name!r} was refused by the worker that tried it: "
            f"{model.proof_reason} Add it again once that is mended: "
            f"headbook models add {shlex.quote(model.ref)}"
        )


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """A name that became another, of so many models, which so many runs show."""

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
    """What is recorded of how a model ran."""
    facts = {name: getattr(shape, name) for name in _OF_SHAPE if name != "shapes"}
    return facts | {"shapes": [asdict(layer) for layer in shape.layers]}


def add_model(session: Session, *, name: str, **facts: Any) -> Model:
    """Record a model that is proved; the same ref, revision and dtype again tells it anew.

    A proof that a worker has begun is dropped. The name goes over to it where it is that of an
    older revision or of the same weights. Raises `NamedOtherwise` and `NameTaken`: nothing is
    renamed here.
    """
    statement = _insert(session, name, facts)
    again = [*RENEWED, *(_OF_SHAPE if facts.get("shapes") else ())]
    known = {each: statement.excluded[each] for each in again}
    was_proved = ModelRow.proof == ProofState.PROVED
    # Runs that were queued before are checked again: its sizes were not known.
    proved_at = case((was_proved, ModelRow.proved_at), else_=func.clock_timestamp())
    known |= {**_proof(ProofState.PROVED), "proved_at": proved_at}
    return _recorded(session, statement, known)


def add_unproved(session: Session, *, name: str, **facts: Any) -> Model:
    """Record a model that a worker is to prove; one that was refused is tried once more.

    One that is there already stays as it is. Raises as `add_model` does.
    """
    statement = _insert(session, name, facts | {"proof": ProofState.UNPROVED})
    refused = ModelRow.proof == ProofState.REFUSED
    anew = {
        column: case((refused, null() if value is None else value), else_=getattr(ModelRow, column))
        for column, value in _proof(ProofState.UNPROVED).items()
    }
    return _recorded(session, statement, anew)


def _insert(session: Session, name: str, facts: dict[str, Any]) -> Insert:
    _take_turn(session)
    facts["name"] = names.checked("model", name)
    check_name(session, name, **{each: facts[each] for each in WEIGHTS})
    return insert(ModelRow).values(**facts)


def _recorded(session: Session, statement: Insert, again: dict[str, Any]) -> Model:
    """The row that is inserted, or the one that was there, changed so."""
    row = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[ModelRow.ref, ModelRow.revision, ModelRow.dtype], set_=again
        ).returning(ModelRow),
        execution_options={"populate_existing": True},
    ).one()
    return to_model(row)


def _proof(state: ProofState) -> dict[str, Any]:
    """How a model's row stands after its proof was begun anew, or ended by who adds it."""
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
    """What weights are called that are there already, in that dtype: first those of that place."""
    same = and_(ModelRow.fingerprint == fingerprint, ModelRow.dtype == dtype)
    of_place = and_(ModelRow.ref == ref, ModelRow.revision == revision)
    newest = of_place.desc(), ModelRow.id.desc()
    return session.scalars(select(ModelRow.name).where(same).order_by(*newest).limit(1)).first()


def check_name(
    session: Session, name: str, *, ref: str, revision: str, dtype: str, fingerprint: str
) -> None:
    """Raises `NamedOtherwise` or `NameTaken` where a model cannot be added under that name.

    In another dtype the same weights are another model, and may have another name. Older versions
    gave one name to several weights, and several to one: what has a name already keeps it.
    """
    known = all_models(session)
    there = [
        each for each in known if (each.ref, each.revision, each.dtype) == (ref, revision, dtype)
    ]
    same = there or [
        each for each in known if (each.fingerprint, each.dtype) == (fingerprint, dtype)
    ]
    if same and name not in {each.name for each in same}:
        raise NamedOtherwise(ref, same[0].name, name)
    for each in known:
        its_own = each.fingerprint == fingerprint or _place(each.ref) == _place(ref)
        if each.name == name and its_own:
            return
    for each in known:
        if names.alike(each.name) == names.alike(name):
            raise NameTaken(name, each)


def _place(ref: str) -> str:
    """Where a model lies, whatever its revision."""
    return ref.partition("@")[0] if ref.startswith(hub.PREFIX) else ref


def rename(session: Session, old: str, new: str, *, renamed_by: str) -> Renaming:
    """Call every model of a name otherwise, in past runs as well; it is kept who did so.

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
    theirs = select(RunRow.id).where(RunRow.model_id.in_(ids))
    runs = session.scalars(select(func.count()).select_from(theirs.subquery())).one()
    session.execute(update(ModelRow).where(ModelRow.id.in_(ids)).values(name=new))
    session.add(ModelRenamingRow(renamed_by=renamed_by, old_name=old, new_name=new))
    publications.show_anew(session, theirs)
    return Renaming(old=old, new=new, models=len(ids), runs=runs)


def _take_turn(session: Session) -> None:
    """Let nobody else name a model until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(_TURN)))


def record_facts(
    session: Session, model_id: int, shape: ModelShape, limits: Limits, *, n_bytes: int
) -> None:
    """How a model ran and what it can read, of one that was added before these were kept."""
    session.execute(
        update(ModelRow)
        .where(ModelRow.id == model_id)
        .values(**shape_facts(shape), **asdict(limits), n_bytes=n_bytes)
    )


def all_models(session: Session) -> list[Model]:
    """Every model, the newest first."""
    return [to_model(row) for row in session.scalars(select(ModelRow).order_by(ModelRow.id.desc()))]


def model_named(session: Session, name: str) -> Model:
    """The newest model of that name; raises `UnknownModel`."""
    models = all_models(session)
    composed = unicodedata.normalize("NFC", name)
    for model in models:
        if model.name == composed:
            return model
    raise UnknownModel(name, sorted({model.name for model in models}))


def check_proof(model: Model) -> None:
    """Raises `ModelRefused`."""
    if model.proof is ProofState.REFUSED:
        raise ModelRefused(model)


def model(session: Session, model_id: int) -> Model:
    """The model of that id."""
    return to_model(session.get_one(ModelRow, model_id))


def component_ids(
    session: Session, model_id: int, components: Iterable[Component]
) -> dict[Component, int]:
    """The id of each component, recorded first where it is new."""
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
