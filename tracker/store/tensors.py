"""Tensors: slices of parts while a run is under way, and where the whole ones lie in the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.results import NamedTensor
from tracker.domain import PartClaim
from tracker.tables import PartTensorRow, TensorRow


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


def insert_part_tensors(
    session: Session, claim: PartClaim, tensors: Mapping[str, NamedTensor]
) -> None:
    """A part's slices; they lie in the database so that they commit with the part's scores."""
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor.values, tensor.values.dtype.newbyteorder("<"))
        session.execute(
            insert(PartTensorRow).values(
                run_id=claim.run_id,
                part=claim.number,
                name=name,
                axes=list(tensor.axes),
                coordinates={axis: list(names) for axis, names in tensor.coordinates.items()},
                dtype=values.dtype.name,
                shape=list(values.shape),
                data=values.tobytes(),
            )
        )


def joined_part_tensors(session: Session, run_id: UUID) -> dict[str, NamedTensor]:
    """The slices of all parts, put together along their first axis, which is `prompt`."""
    query = (
        select(PartTensorRow)
        .where(PartTensorRow.run_id == run_id)
        .order_by(PartTensorRow.name, PartTensorRow.part)
    )
    slices: dict[str, list[PartTensorRow]] = {}
    for row in session.scalars(query):
        slices.setdefault(row.name, []).append(row)
    return {name: _joined(rows) for name, rows in slices.items()}


def _joined(rows: list[PartTensorRow]) -> NamedTensor:
    arrays = [np.frombuffer(row.data, dtype=row.dtype).reshape(row.shape) for row in rows]
    first = rows[0]
    return NamedTensor(
        np.concatenate(arrays),
        tuple(first.axes),
        {axis: tuple(names) for axis, names in first.coordinates.items()},
    )


def insert_tensors(session: Session, run_id: UUID, stored: list[StoredTensor]) -> None:
    """What the finished run's tensors are and where they lie."""
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
    query = select(TensorRow).where(TensorRow.run_id == run_id).order_by(TensorRow.name)
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
