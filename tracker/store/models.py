"""Language models and the ids of their components."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.checkpoints.shapes import LayerShape, ModelShape
from analyses.errors import did_you_mean
from analyses.prompts.limits import Limits
from analyses.results import Component, Kind
from tracker.domain import Model
from tracker.errors import TrackerError
from tracker.tables import ComponentRow, ModelRow

_OF_SHAPE = ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head", "d_vocab", "shapes")
# What a model that is there already is told anew: older versions did not ask for all of it.
RENEWED = ("name", "n_embeddings", "max_positions", "trained_positions")


class UnknownModel(TrackerError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"No model named {name!r}.{did_you_mean(name, known)} "
            f"Known models: {', '.join(known) or 'none'}. "
            "Add one with `headbook models add REF`."
        )


def to_model(row: ModelRow) -> Model:
    facts = {name: getattr(row, name) for name in Model.__dataclass_fields__}
    if row.shapes is not None:
        facts["shapes"] = tuple(LayerShape(**layer) for layer in row.shapes)
    return Model(**facts)


def shape_facts(shape: ModelShape) -> dict[str, Any]:
    """What is recorded of how a model ran."""
    facts = {name: getattr(shape, name) for name in _OF_SHAPE if name != "shapes"}
    return facts | {"shapes": [asdict(layer) for layer in shape.layers]}


def add_model(session: Session, **facts: object) -> Model:
    """Record a model; the same ref, revision and dtype again tells it anew."""
    statement = insert(ModelRow).values(**facts)
    again = [*RENEWED, *(_OF_SHAPE if facts.get("shapes") else ())]
    row = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[ModelRow.ref, ModelRow.revision, ModelRow.dtype],
            set_={name: statement.excluded[name] for name in again},
        ).returning(ModelRow)
    ).one()
    return to_model(row)


def record_facts(session: Session, model_id: int, shape: ModelShape, limits: Limits) -> None:
    """How a model ran and what it can read, of one that was added before these were kept."""
    session.execute(
        update(ModelRow)
        .where(ModelRow.id == model_id)
        .values(**shape_facts(shape), **asdict(limits))
    )


def all_models(session: Session) -> list[Model]:
    """Every model, the newest first."""
    return [to_model(row) for row in session.scalars(select(ModelRow).order_by(ModelRow.id.desc()))]


def model_named(session: Session, name: str) -> Model:
    """The newest model of that name; raises `UnknownModel`."""
    models = all_models(session)
    for model in models:
        if model.name == name:
            return model
    raise UnknownModel(name, sorted({model.name for model in models}))


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
