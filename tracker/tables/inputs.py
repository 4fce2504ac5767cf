"""Which runs need the results of which."""

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from tracker.tables.metadata import Row
from tracker.tables.runs import RunRow


class RunInputRow(Row):
    __tablename__ = "run_input"
    __table_args__ = (
        CheckConstraint("run_id <> needs_run_id", name="another"),
        Index(None, "needs_run_id"),
        {"comment": "A run reads another's result: it waits for it, and ends when it fails."},
    )

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run that waits."
    )
    name: Mapped[str] = mapped_column(
        primary_key=True, comment="Under which the result is handed over."
    )
    needs_run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), comment="The run whose result it reads."
    )
