"""Stores tensors of parts until the run finishes: one row describes each, chunks hold its bytes.

Each chunk is written in a transaction of its own, under the epoch of its claim. Chunks are ignored
until the description with that epoch commits, together with the scores of the part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy import and_, delete, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from analyses.results import NamedTensor
from tracker.domain import TERMINAL, PartClaim, Run
from tracker.errors import TrackerError
from tracker.tables import PartRow, PartTensorChunkRow, PartTensorRow, RunRow

REMOVED_AT_ONCE = 32  # chunks; deleting more would make the transaction too long

_READ = """
SELECT data FROM headbook.part_tensor_chunk
WHERE run_id = %s AND part = %s AND epoch = %s AND name = %s AND number = %s
"""


@dataclass(frozen=True, kw_only=True)
class PartTensor:
    """Describes a part's slice of a tensor; its bytes are little-endian, in C order."""

    name: str
    axes: tuple[str, ...]
    coordinates: dict[str, list[str]]
    dtype: str
    shape: tuple[int, ...]
    sha256: str


class StoredSlice(NamedTuple):
    """A committed slice, for the prompts `start` to `stop` - 1."""

    part: int
    epoch: int
    start: int
    stop: int
    tensor: PartTensor


class UnequalParts(TrackerError):
    def __init__(self, name: str, parts: Iterable[str]) -> None:
        super().__init__(
            f"The parts of the tensor {name!r} cannot be joined: they are "
            f"{', '.join(dict.fromkeys(parts))}. An analysis must return the same dtype, axes and "
            "coordinates for all prompts, and the same shape unless the values are floats."
        )


def insert_chunk(session: Session, claim: PartClaim, name: str, number: int, data: bytes) -> None:
    """Store one chunk of a tensor, at most `CHUNK_BYTES`; an existing chunk does not change."""
    session.execute(
        insert(PartTensorChunkRow)
        .values(
            run_id=claim.run_id,
            part=claim.number,
            epoch=claim.epoch,
            name=name,
            number=number,
            data=data,
        )
        .on_conflict_do_nothing()
    )


def insert_part_tensors(session: Session, claim: PartClaim, tensors: Sequence[PartTensor]) -> None:
    """Store the descriptions of a part's tensors, after all of their chunks."""
    for tensor in tensors:
        session.execute(
            insert(PartTensorRow).values(
                run_id=claim.run_id,
                part=claim.number,
                epoch=claim.epoch,
                name=tensor.name,
                axes=list(tensor.axes),
                coordinates=tensor.coordinates,
                dtype=tensor.dtype,
                shape=list(tensor.shape),
                sha256=tensor.sha256,
            )
        )


def part_tensors(session: Session, run_id: UUID) -> dict[str, list[StoredSlice]]:
    """The slices of each tensor of a run, in the order of the prompts."""
    query = (
        select(PartTensorRow, PartRow.start, PartRow.stop)
        .join(
            PartRow,
            and_(PartRow.run_id == PartTensorRow.run_id, PartRow.number == PartTensorRow.part),
        )
        .where(PartTensorRow.run_id == run_id)
        .order_by(PartTensorRow.name, PartTensorRow.part)
    )
    slices = [
        StoredSlice(row.part, row.epoch, start, stop, _described(row))
        for row, start, stop in session.execute(query)
    ]
    by_name = groupby(slices, key=lambda stored: stored.tensor.name)
    return {name: list(of_name) for name, of_name in by_name}


def _described(row: PartTensorRow) -> PartTensor:
    return PartTensor(
        name=row.name,
        axes=tuple(row.axes),
        coordinates=row.coordinates,
        dtype=row.dtype,
        shape=tuple(row.shape),
        sha256=row.sha256,
    )


def chunk(session: Session, *, run_id: UUID, stored: StoredSlice, number: int) -> bytes | None:
    """One chunk of a slice; None if there is no such chunk."""
    connection: Any = session.connection().connection.driver_connection
    key = run_id, stored.part, stored.epoch, stored.tensor.name, number
    with connection.cursor(binary=True) as cursor:  # as text, bytes take twice their size
        row = cursor.execute(_READ, key).fetchone()
    return None if row is None else row[0]


def check_alike(slices: Sequence[StoredSlice]) -> None:
    """Raises `UnequalParts` if the slices cannot be joined into one tensor."""
    first, *others = parts = [stored.tensor for stored in slices]
    alike = all(
        (part.axes, part.dtype, part.coordinates) == (first.axes, first.dtype, first.coordinates)
        for part in others
    )
    one_shape = len({part.shape[1:] for part in parts}) == 1
    if not alike or not (one_shape or np.issubdtype(np.dtype(first.dtype), np.floating)):
        raise UnequalParts(first.name, map(_shown, parts))


def empty(run: Run, slices: Sequence[StoredSlice]) -> NamedTensor:
    """An array for the whole tensor, filled with NaN, or with 0 if the dtype has no NaN.

    Its first axis is `prompt`; prompts of a part that has no slice keep the fill value. Every other
    axis is as long as in the longest slice; shorter slices leave NaN behind their end.
    """
    first = slices[0].tensor
    dtype = np.dtype(first.dtype)
    longest = np.max([stored.tensor.shape for stored in slices], axis=0)[1:]
    fill = np.nan if np.issubdtype(dtype, np.floating) else 0
    values = np.full((run.n_prompts, *longest), fill, dtype=dtype)
    names = {axis: tuple(labels) for axis, labels in first.coordinates.items()}
    return NamedTensor(values, first.axes, names)


def _shown(part: PartTensor) -> str:
    sizes = zip(part.axes[1:], part.shape[1:], strict=True)
    return f"{part.dtype}[{', '.join(f'{axis} {size}' for axis, size in sizes)}]"


def remove_unneeded_chunks(session: Session, *, limit: int = REMOVED_AT_ONCE) -> int:
    """Delete chunks of ended runs and of lost claims, `limit` at most. Returns their number."""
    key = (
        PartTensorChunkRow.run_id,
        PartTensorChunkRow.part,
        PartTensorChunkRow.epoch,
        PartTensorChunkRow.name,
        PartTensorChunkRow.number,
    )
    of_part = and_(
        PartRow.run_id == PartTensorChunkRow.run_id, PartRow.number == PartTensorChunkRow.part
    )
    unneeded = (
        select(*key)
        .join(PartRow, of_part)
        .join(RunRow, RunRow.id == PartTensorChunkRow.run_id)
        .where(or_(RunRow.state.in_(list(TERMINAL)), PartTensorChunkRow.epoch < PartRow.epoch))
        .limit(limit)
    )
    deletion = delete(PartTensorChunkRow).where(tuple_(*key).in_(unneeded))
    removed = session.scalars(deletion.returning(PartTensorChunkRow.number))
    return len(removed.all())
