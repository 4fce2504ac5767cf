"""Tensors of parts on their way through Postgres: written in chunks, read back when they are used.

Every chunk is a statement and a transaction of its own, so that a tensor of any size costs worker
and server the memory of a few chunks, and no transaction lasts for long.
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
            f"The tensor {stored.tensor.name!r} of part {stored.part} is not in the database as "
            "it was written: its hash differs, or bytes are missing. Queue the run again with "
            "--force."
        )


@dataclass(frozen=True, kw_only=True)
class PartTensorWriter:
    """Writes the chunks of a claimed part's tensors; nobody sees them before the part commits."""

    sessions: Sessions
    claim: PartClaim
    lease: float
    beat: Beat

    def write(self, tensors: Mapping[str, NamedTensor]) -> list[PartTensor]:
        """Write them all; their descriptions, to be committed with the part's scores.

        Raises `LeaseLost` or `CancelSeen`, and writes no more, as soon as the claim is lost or its
        run was asked to stop.
        """
        return [self._write(name, tensor) for name, tensor in tensors.items()]

    def _write(self, name: str, tensor: NamedTensor) -> PartTensor:
        written = hashlib.sha256()
        for number, data in enumerate(_chunks(tensor.values)):
            patiently(self.sessions, partial(self._insert, name=name, number=number, data=data))
            written.update(data)
            self.beat(self.claim.stop - self.claim.start)
        return PartTensor(
            name=name,
            axes=tensor.axes,
            coordinates={axis: list(names) for axis, names in tensor.coordinates.items()},
            dtype=tensor.values.dtype.name,
            shape=tensor.values.shape,
            sha256=written.hexdigest(),
        )

    def _insert(self, session: Session, *, name: str, number: int, data: bytes) -> None:
        parts.fence(session, self.claim, lease=self.lease)
        part_tensors.insert_chunk(session, self.claim, name, number, data)


class JoinedTensors(Mapping[str, NamedTensor]):
    """The tensors of a run's parts, each put together from its chunks whenever it is looked up.

    Nothing is remembered: who needs a tensor only for its mean holds it no longer than that.
    Raises `UnequalParts` at once where a tensor cannot be put together, and `DamagedPartTensor`
    at the look-up where its bytes are not those that were written.
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
        """A slice by itself."""
        tensor = stored.tensor
        values = np.empty(tensor.shape, dtype=tensor.dtype)
        self._read(stored, values)
        names = {axis: tuple(labels) for axis, labels in tensor.coordinates.items()}
        return NamedTensor(values, tensor.axes, names)

    def _read(self, stored: StoredSlice, into: NDArray[Any]) -> None:
        """Fill an array with the bytes of a slice, chunk by chunk."""
        places, step = _in_order(into), _step(into)
        read = hashlib.sha256()
        for number, begin in enumerate(range(0, into.size, step)):
            query = partial(part_tensors.chunk, run_id=self._run.id, stored=stored, number=number)
            data = patiently(self._sessions, query) or b""
            wanted = min(step, into.size - begin)
            if len(data) != wanted * into.itemsize:
                raise DamagedPartTensor(stored)
            little_endian = into.dtype.newbyteorder("<")
            places[begin : begin + wanted] = np.frombuffer(data, little_endian)
            read.update(data)
            self._beat(0)
        if read.hexdigest() != stored.tensor.sha256:
            raise DamagedPartTensor(stored)


def _chunks(values: NDArray[Any]) -> Iterator[bytes]:
    """The bytes of an array, little-endian and in C order, however it lies in memory."""
    places, step = _in_order(values), _step(values)
    for begin in range(0, values.size, step):
        chunk = np.asarray(places[begin : begin + step])
        yield chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).tobytes()


def _in_order(values: NDArray[Any]) -> Any:
    """All values in C order, to be read and written by slices without a copy of the whole."""
    return values.reshape(-1) if values.flags.c_contiguous else values.flat


def _step(values: NDArray[Any]) -> int:
    """How many values are in a chunk."""
    return CHUNK_BYTES // values.itemsize
