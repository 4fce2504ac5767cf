"""Writes the tensors of parts to Postgres in chunks, and reads them back when they are used.

Every chunk is a statement and a transaction of its own: whatever the size of a tensor, worker and
server need memory for a few chunks only, and transactions stay short.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from analyses import prompt_sums
from analyses.results import NamedTensor
from tracker.database.db import Sessions, patiently
from tracker.domain import PartClaim, Run
from tracker.errors import TrackerError
from tracker.store import part_tensors, parts
from tracker.store.part_tensors import PartTensor, StoredSlice
from tracker.tables import CHUNK_BYTES
from tracker.working.heartbeat import Beat


class DamagedPartTensor(TrackerError):
    def __init__(self, stored: StoredSlice) -> None:
        super().__init__(
            f"The tensor {stored.tensor.name!r} of part {stored.part} is corrupted in the "
            "database: its hash differs, or bytes are missing. Queue the run again with --force."
        )


@dataclass(frozen=True, kw_only=True)
class PartTensorWriter:
    """Writes the chunks of a claimed part's tensors; they stay invisible until the part commits."""

    sessions: Sessions
    claim: PartClaim
    lease: float
    beat: Beat

    def write(self, tensors: Mapping[str, NamedTensor]) -> list[PartTensor]:
        """Write all tensors. Returns their descriptions, to be committed with the part's scores.

        Raises `LeaseLost` as soon as the claim is lost, and `CancelSeen` if the run was asked to
        stop.
        """
        return [self._write(name, tensor) for name, tensor in tensors.items()]

    def _write(self, name: str, tensor: NamedTensor) -> PartTensor:
        sha256 = hashlib.sha256()
        for number, data in enumerate(_chunks(tensor.values)):
            patiently(self.sessions, partial(self._insert, name=name, number=number, data=data))
            sha256.update(data)
            self.beat(self.claim.stop - self.claim.start)
        return PartTensor(
            name=name,
            axes=tensor.axes,
            coordinates={axis: list(names) for axis, names in tensor.coordinates.items()},
            dtype=tensor.values.dtype.name,
            shape=tensor.values.shape,
            sha256=sha256.hexdigest(),
        )

    def _insert(self, session: Session, *, name: str, number: int, data: bytes) -> None:
        parts.fence(session, self.claim, lease=self.lease)
        part_tensors.insert_chunk(session, self.claim, name, number, data)


class JoinedTensors(Mapping[str, NamedTensor]):
    """The tensors of a run by name; each lookup joins the chunks of all parts.

    Nothing is cached, so a tensor takes memory only while it is used. The constructor raises
    `UnequalParts` if slices cannot be joined; a lookup raises `DamagedPartTensor` if bytes are
    missing or have changed.
    """

    def __init__(self, sessions: Sessions, run: Run, beat: Beat) -> None:
        self._sessions, self._run, self._beat = sessions, run, beat
        self._slices = patiently(
            sessions, lambda session: part_tensors.part_tensors(session, run.id)
        )
        for slices in self._slices.values():
            part_tensors.check_alike(slices)

    def __len__(self) -> int:
        return len(self._slices)

    def __iter__(self) -> Iterator[str]:
        return iter(self._slices)

    def __getitem__(self, name: str) -> NamedTensor:
        slices = self._slices[name]
        if slices[0].tensor.axes[:1] == (prompt_sums.AXIS,):
            return NamedTensor.joined([self._part(stored) for stored in slices])
        joined = part_tensors.empty(self._run, slices)
        for stored in slices:
            shape = (slice(size) for size in stored.tensor.shape[1:])
            self._read(stored, joined.values[(slice(stored.start, stored.stop), *shape)])
        return joined

    def _part(self, stored: StoredSlice) -> NamedTensor:
        """One part's slice as a tensor of its own."""
        tensor = stored.tensor
        values = np.empty(tensor.shape, dtype=tensor.dtype)
        self._read(stored, values)
        names = {axis: tuple(labels) for axis, labels in tensor.coordinates.items()}
        return NamedTensor(values, tensor.axes, names)

    def _read(self, stored: StoredSlice, into: NDArray[Any]) -> None:
        """Fill an array with the bytes of a slice, chunk by chunk."""
        flat, step = _flat(into), _step(into)
        sha256 = hashlib.sha256()
        for number, begin in enumerate(range(0, into.size, step)):
            query = partial(part_tensors.chunk, run_id=self._run.id, stored=stored, number=number)
            data = patiently(self._sessions, query) or b""
            length = min(step, into.size - begin)
            if len(data) != length * into.itemsize:
                raise DamagedPartTensor(stored)
            little_endian = into.dtype.newbyteorder("<")
            flat[begin : begin + length] = np.frombuffer(data, little_endian)
            sha256.update(data)
            self._beat(0)
        if sha256.hexdigest() != stored.tensor.sha256:
            raise DamagedPartTensor(stored)


def _chunks(values: NDArray[Any]) -> Iterator[bytes]:
    """The bytes of an array in chunks: little-endian and in C order, whatever its memory layout."""
    flat, step = _flat(values), _step(values)
    for begin in range(0, values.size, step):
        chunk = np.asarray(flat[begin : begin + step])
        yield chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).tobytes()


def _flat(values: NDArray[Any]) -> Any:
    """A flat view in C order, for reading and writing slices without copying the array."""
    return values.reshape(-1) if values.flags.c_contiguous else values.flat


def _step(values: NDArray[Any]) -> int:
    """The number of values in a chunk."""
    return CHUNK_BYTES // values.itemsize
