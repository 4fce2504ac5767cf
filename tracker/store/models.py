"""Language models and the ids of their components."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.errors import did_you_mean
from analyses.results import Component, Kind
from tracker.domain import Model
from tracker.errors import TrackerError
from tracker.tables import ComponentRow, ModelRow


class UnknownModel(TrackerError):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"No model named {name!r}.{did_you_mean(name, known)} "
            f"Known models: {', '.join(known) or 'none'}. "
            "Add one with `headbook models add REF`."
        )


def to_model(row: ModelRow) -> Model:
    return Model(**{name: getattr(row, name) for name in Model.__dataclass_fields__})


def add_model(session: Session, **facts: object) -> Model:
    """Record a model; the same ref, revision and dtype again only renames it."""
    statement = insert(ModelRow).values(**facts)
    row = session.scalars(
        statement.on_conflict_do_update(
            index_elements=[ModelRow.ref, ModelRow.revision, ModelRow.dtype],
            set_={"name": statement.excluded.name},
        ).returning(ModelRow)
    ).one()
    return to_model(row)


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
