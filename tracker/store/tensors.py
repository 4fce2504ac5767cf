"""Tensors: slices of parts while a run is under way, and where the whole ones lie in the end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import collate, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.results import NamedTensor
from tracker.domain import PartClaim, PublicationState, Run
from tracker.errors import TrackerError
from tracker.tables import BY_CODE, PartRow, PartTensorRow, PublicationRow, TensorRow


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


class UnequalParts(TrackerError):
    def __init__(self, name: str, parts: Iterable[str]) -> None:
        super().__init__(
            f"The parts of the tensor {name!r} cannot be joined: they are "
            f"{', '.join(dict.fromkeys(parts))}. An analysis has to give the same type, axes and "
            "names for any prompts, and the same lengths unless they are floats."
        )


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
    has none. Where other axes are longer in some parts than in others, the whole is as long as the
    longest, and NaN behind the end of the others. Raises `UnequalParts` where that cannot be.
    """
    joined = _empty(session, run)
    query = (
        select(PartTensorRow, PartRow.start, PartRow.stop)
        .join(
            PartRow,
            (PartRow.run_id == PartTensorRow.run_id) & (PartRow.number == PartTensorRow.part),
        )
        .where(PartTensorRow.run_id == run.id)
        .order_by(PartTensorRow.name, PartTensorRow.part)
    )
    for row, start, stop in session.execute(query):
        slice_of = np.frombuffer(row.data, dtype=row.dtype).reshape(row.shape)
        begun = tuple(slice(size) for size in row.shape[1:])
        joined[row.name].values[(slice(start, stop), *begun)] = slice_of
    return joined


def _empty(session: Session, run: Run) -> dict[str, NamedTensor]:
    """The whole tensors, before anything is put into them."""
    described = select(
        PartTensorRow.name,
        PartTensorRow.axes,
        PartTensorRow.coordinates,
        PartTensorRow.dtype,
        PartTensorRow.shape,
    )
    query = described.where(PartTensorRow.run_id == run.id).order_by(
        PartTensorRow.name, PartTensorRow.part
    )
    by_name = groupby(session.execute(query), key=lambda row: row.name)
    return {name: _whole(name, list(rows), run.n_prompts) for name, rows in by_name}


def _whole(name: str, parts: Sequence[Any], prompts: int) -> NamedTensor:
    axes, dtype, names = parts[0].axes, np.dtype(parts[0].dtype), parts[0].coordinates
    shapes = [tuple(part.shape[1:]) for part in parts]
    floats = np.issubdtype(dtype, np.floating)
    alike = all((part.axes, part.dtype, part.coordinates) == (axes, dtype, names) for part in parts)
    if not alike or (not floats and len(set(shapes)) > 1):
        raise UnequalParts(name, map(_described, parts))
    longest = tuple(map(max, zip(*shapes, strict=True)))
    values = np.full((prompts, *longest), np.nan if floats else 0, dtype=dtype)
    return NamedTensor(values, tuple(axes), {axis: tuple(each) for axis, each in names.items()})


def _described(part: Any) -> str:
    sizes = zip(part.axes[1:], part.shape[1:], strict=True)
    return f"{part.dtype}[{', '.join(f'{axis} {size}' for axis, size in sizes)}]"


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
    """Of those hashes that are tensors of runs, whether each such run is published."""
    every = func.bool_and(PublicationRow.state == PublicationState.PUBLISHED)
    query = (
        select(TensorRow.sha256, every)
        .join(PublicationRow, PublicationRow.run_id == TensorRow.run_id)
        .where(TensorRow.sha256.in_(hashes))
        .group_by(TensorRow.sha256)
    )
    return dict(session.execute(query).all())
