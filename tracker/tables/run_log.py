"""What was logged and printed while the parts of runs were worked on."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tracker.domain import LogLevel
from tracker.tables.metadata import NOW, Id, Instant, Row, one_of
from tracker.tables.runs import RunRow


class RunLogRow(Row):
    __tablename__ = "run_log"
    __table_args__ = (
        one_of("level", LogLevel),
        Index(None, "run_id", "seq"),
        {"comment": "What was logged and printed while a part was worked on, append-only."},
    )

    seq: Mapped[Id] = mapped_column(
        BigInteger, comment="Order of lines; of one run also of commits."
    )
    run_id: Mapped[UUID] = mapped_column(ForeignKey(RunRow.id), comment="The run.")
    at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When it was said.")
    part: Mapped[int] = mapped_column(comment="The part that was worked on.")
    epoch: Mapped[int] = mapped_column(
        BigInteger,
        comment="Epoch of the claim; with an older one than the part's it was taken back.",
    )
    worker: Mapped[str] = mapped_column(comment="The worker that said it.")
    level: Mapped[str] = mapped_column(
        comment="debug, info, warning, error, critical, or stdout, stderr: printed."
    )
    line: Mapped[str] = mapped_column(comment="One line, without credentials.")
