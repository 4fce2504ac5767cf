"""Worker processes, as the app shows them."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from analyses.names import LONGEST_HOST
from tracker.tables.metadata import NOW, Instant, Row, is_name

LONGEST_NAME = 300


class WorkerRow(Row):
    __tablename__ = "worker"
    __table_args__ = (
        CheckConstraint(
            f"{is_name('name', most=LONGEST_NAME)} AND {is_name('host', most=LONGEST_HOST)}",
            name="names",
        ),
        {"comment": "A worker process that has been seen."},
    )

    name: Mapped[str] = mapped_column(
        primary_key=True, comment="host:pid, and a few letters that no other worker has."
    )
    host: Mapped[str] = mapped_column(comment="Host it runs on.")
    pid: Mapped[int] = mapped_column(comment="Process id on that host.")
    device: Mapped[str] = mapped_column(comment="Device it computes on, e.g. cpu or cuda:0.")
    devices: Mapped[list[dict[str, Any]] | None] = mapped_column(
        JSONB(none_as_null=True),
        comment="Its devices: kind, name, memory in bytes, uuid; NULL: not known.",
    )
    spreads: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="Whether one model may lie on all of its devices."
    )
    memory: Mapped[int | None] = mapped_column(
        BigInteger, comment="Bytes that a model and its recordings may take; NULL: not known."
    )
    only_above: Mapped[int | None] = mapped_column(
        BigInteger, comment="It takes only runs that need more bytes than this; NULL: all."
    )
    host_memory: Mapped[int | None] = mapped_column(
        BigInteger, comment="Bytes that its processes may take of the host; NULL: not known."
    )
    loaded_model: Mapped[str | None] = mapped_column(comment="Name of the model in its memory.")
    busy_with: Mapped[str | None] = mapped_column(comment="Id of the run it works on; NULL: idle.")
    started_at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When it started.")
    last_seen: Mapped[Instant] = mapped_column(server_default=NOW, comment="Its last sign of life.")
    stopped_at: Mapped[Instant | None] = mapped_column(comment="When it said that it stops.")
