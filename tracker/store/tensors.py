"""Tensors of finished runs: their descriptions, and the paths of their files in MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import collate, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tracker.domain import PublicationState
from tracker.tables import BY_CODE, PublicationRow, TensorRow


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor file among the artifacts of a run's MLflow run."""

    name: str
    axes: tuple[str, ...]
    coordinates: Mapping[str, tuple[str, ...]]
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    size_bytes: int
    mlflow_path: str


def insert_tensors(session: Session, run_id: UUID, stored: list[StoredTensor]) -> None:
    """Record the descriptions and MLflow paths of a run's tensors."""
    for tensor in stored:
        session.execute(
            insert(TensorRow).values(
                run_id=run_id,
                name=tensor.name,
                axes=list(tensor.axes),
                coordinates={axis: list(names) for axis, names in tensor.coordinates.items()},
                dtype=tensor.dtype,
                shape=list(tensor.shape),
                sha256=tensor.sha256,
                size_bytes=tensor.size_bytes,
                mlflow_path=tensor.mlflow_path,
            )
        )


def tensors(session: Session, run_id: UUID) -> list[StoredTensor]:
    """The tensors of a run, by name."""
    query = (
        select(TensorRow)
        .where(TensorRow.run_id == run_id)
        .order_by(collate(TensorRow.name, BY_CODE))
    )
    return [
        StoredTensor(
            name=row.name,
            axes=tuple(row.axes),
            coordinates={axis: tuple(names) for axis, names in row.coordinates.items()},
            dtype=row.dtype,
            shape=tuple(row.shape),
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            mlflow_path=row.mlflow_path,
        )
        for row in session.scalars(query)
    ]


def published(session: Session, hashes: Sequence[str]) -> dict[str, bool]:
    """For each hash that is a tensor of runs, whether all of these runs are published."""
    all_published = func.bool_and(PublicationRow.state == PublicationState.PUBLISHED)
    query = (
        select(TensorRow.sha256, all_published)
        .join(PublicationRow, PublicationRow.run_id == TensorRow.run_id)
        .where(TensorRow.sha256.in_(hashes))
        .group_by(TensorRow.sha256)
    )
    return dict(session.execute(query).all())
