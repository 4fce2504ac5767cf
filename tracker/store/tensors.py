"""Tensors: slices of parts while a run is under way, and where the whole ones lie in the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.results import NamedTensor
from tracker.domain import PartClaim, Run
from tracker.tables import PartRow, PartTensorRow, TensorRow


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


def joined_part_tensors(session: Session, run: Run) -> dict[str, NamedTensor]:
    """The slices of all parts, put together along their first axis, which is `prompt`.

    A part without a tensor has skipped all its prompts for it: they are NaN, or 0 where the type
    has none.
    """
    query = (
        select(PartTensorRow, PartRow.start, PartRow.stop)
        .join(
            PartRow,
            (PartRow.run_id == PartTensorRow.run_id) & (PartRow.number == PartTensorRow.part),
        )
        .where(PartTensorRow.run_id == run.id)
        .order_by(PartTensorRow.name, PartTensorRow.part)
    )
    joined: dict[str, NamedTensor] = {}
    for row, start, stop in session.execute(query):
        slice_of = np.frombuffer(row.data, dtype=row.dtype).reshape(row.shape)
        if row.name not in joined:
            nothing = np.nan if np.issubdtype(slice_of.dtype, np.floating) else 0
            whole = np.full((run.n_prompts, *row.shape[1:]), nothing, dtype=slice_of.dtype)
            names = {axis: tuple(each) for axis, each in row.coordinates.items()}
            joined[row.name] = NamedTensor(whole, tuple(row.axes), names)
        joined[row.name].values[start:stop] = slice_of
    return joined


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
