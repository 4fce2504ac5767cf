"""Parts of runs, and what they have measured until their run finishes."""

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    DOUBLE_PRECISION,
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from tracker.domain import PartKind, PartState
from tracker.tables.metadata import NO_VALUES, Instant, Json, Row, condition_of_varied, one_of
from tracker.tables.models import ComponentRow
from tracker.tables.runs import RunRow


class PartRow(Row):
    __tablename__ = "part"
    __table_args__ = (
        one_of("kind", PartKind),
        one_of("state", PartState),
        CheckConstraint(
            "(state = 'running') = (worker IS NOT NULL)"
            " AND (state = 'running') = (lease_expires_at IS NOT NULL)",
            name="leased_while_running",
        ),
        CheckConstraint("start <= stop AND done BETWEEN 0 AND stop - start", name="slice"),
        Index("part_running", "run_id", postgresql_where=text("state = 'running'")),
        {"comment": "A piece of a run that one worker does: a slice of its prompts."},
    )

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run."
    )
    number: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="Place in the run, from 0."
    )
    kind: Mapped[str] = mapped_column(
        comment="prompts: measures; finish: puts the slices together, once all are in."
    )
    start: Mapped[int] = mapped_column(comment="First prompt.")
    stop: Mapped[int] = mapped_column(comment="One past the last prompt.")
    done: Mapped[int] = mapped_column(server_default="0", comment="Prompts measured so far.")
    state: Mapped[str] = mapped_column(comment="queued, running under a lease, or how it ended.")
    epoch: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="Fencing token; rises at claim, release and reap."
    )
    worker: Mapped[str | None] = mapped_column(comment="The worker that holds the lease.")
    lease_expires_at: Mapped[Instant | None] = mapped_column(
        comment="When the part is taken back; not indexed, so that heartbeats stay cheap."
    )
    started_at: Mapped[Instant | None] = mapped_column(comment="When it was last claimed.")
    finished_at: Mapped[Instant | None] = mapped_column(comment="When it ended.")


_PART = [PartRow.run_id, PartRow.number]
CHUNK_BYTES = 4 * 2**20  # of a tensor: the most that one statement carries


class PartScoreRow(Row):
    __tablename__ = "part_score"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "part"], _PART),
        condition_of_varied(),
        {"comment": "What a part has measured, until the run finishes and `score` holds it."},
    )

    run_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The run.")
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="The part.")
    component_id: Mapped[int] = mapped_column(
        ForeignKey(ComponentRow.id), primary_key=True, comment="The component."
    )
    metric: Mapped[str] = mapped_column(primary_key=True, comment="Name of the metric.")
    site: Mapped[str] = mapped_column(primary_key=True, comment="Named activation, or empty.")
    condition: Mapped[str] = mapped_column(
        primary_key=True, comment="What else was varied, or empty."
    )
    varied: Mapped[Json] = mapped_column(
        server_default=NO_VALUES, comment="What condition says: values by name."
    )
    x: Mapped[float] = mapped_column(
        DOUBLE_PRECISION, primary_key=True, comment="Coordinate, e.g. a rank; else 0."
    )
    values: Mapped[list[float | None]] = mapped_column(
        ARRAY(REAL), comment="One value per prompt of the part; NULL where it was skipped."
    )


class PartTensorRow(Row):
    __tablename__ = "part_tensor"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "part"], _PART),
        {"comment": "A slice of a tensor, until the run finishes and MLflow stores it whole."},
    )

    run_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The run.")
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="The part.")
    name: Mapped[str] = mapped_column(primary_key=True, comment="Name of the tensor.")
    axes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Name of each axis; prompt first.")
    coordinates: Mapped[Json] = mapped_column(comment="What lies along an axis, by axis name.")
    dtype: Mapped[str] = mapped_column(comment="NumPy's name of the dtype.")
    shape: Mapped[list[int]] = mapped_column(ARRAY(Integer), comment="Length of each axis.")
    epoch: Mapped[int] = mapped_column(BigInteger, comment="Epoch of the chunks that hold it.")
    sha256: Mapped[str] = mapped_column(comment="Hash of the bytes of its chunks.")


class PartTensorChunkRow(Row):
    __tablename__ = "part_tensor_chunk"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "part"], _PART),
        CheckConstraint(f"octet_length(data) <= {CHUNK_BYTES}", name="size"),
        {
            "comment": "Bytes of a slice of a tensor: little-endian, C order. They count once "
            "part_tensor names their epoch; they are removed when the run has ended."
        },
    )

    run_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The run.")
    part: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="The part.")
    epoch: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="The claim that wrote it."
    )
    name: Mapped[str] = mapped_column(primary_key=True, comment="Name of the tensor.")
    number: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="Place in the slice, from 0."
    )
    data: Mapped[bytes] = mapped_column(LargeBinary, comment="The bytes.")
