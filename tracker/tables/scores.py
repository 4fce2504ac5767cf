"""What stays of a finished run: scores, and where its tensors lie."""

from uuid import UUID

from sqlalchemy import ARRAY, DOUBLE_PRECISION, REAL, BigInteger, ForeignKey, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from tracker.tables.metadata import NO_VALUES, Json, Row, condition_of_varied
from tracker.tables.models import ComponentRow
from tracker.tables.runs import RunRow


class ScoreRow(Row):
    __tablename__ = "score"
    __table_args__ = (
        Index(None, "component_id", "metric"),
        condition_of_varied(),
        {"comment": "One metric of one component in one run."},
    )

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run."
    )
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
    n: Mapped[int] = mapped_column(comment="Prompts that count.")
    skipped: Mapped[int] = mapped_column(comment="Prompts that were skipped.")
    mean: Mapped[float | None] = mapped_column(DOUBLE_PRECISION, comment="Mean over prompts.")
    sem: Mapped[float | None] = mapped_column(
        DOUBLE_PRECISION, comment="Standard error of the mean, prompts of one item taken together."
    )
    ci_low: Mapped[float | None] = mapped_column(
        DOUBLE_PRECISION, comment="Lower end of the 95 % interval over items."
    )
    ci_high: Mapped[float | None] = mapped_column(
        DOUBLE_PRECISION, comment="Upper end of the 95 % interval over items."
    )
    values: Mapped[list[float | None] | None] = mapped_column(
        ARRAY(REAL),
        comment="One value per prompt, in the order of the distribution's prompts; NULL inside:"
        " skipped; NULL as a whole: a number about the run, such as the size of a set.",
    )


class TensorRow(Row):
    __tablename__ = "tensor"
    __table_args__ = ({"comment": "A stored array: what it is, and where its bytes lie."},)

    run_id: Mapped[UUID] = mapped_column(
        ForeignKey(RunRow.id), primary_key=True, comment="The run."
    )
    name: Mapped[str] = mapped_column(primary_key=True, comment="Name of the tensor.")
    axes: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Name of each axis; prompt first.")
    coordinates: Mapped[Json] = mapped_column(comment="What lies along an axis, by axis name.")
    dtype: Mapped[str] = mapped_column(comment="NumPy's name of the dtype.")
    shape: Mapped[list[int]] = mapped_column(ARRAY(Integer), comment="Length of each axis.")
    sha256: Mapped[str] = mapped_column(comment="Hash of the stored file; a reader checks it.")
    size_bytes: Mapped[int] = mapped_column(BigInteger, comment="Size of the stored file.")
    mlflow_path: Mapped[str] = mapped_column(comment="Path among the MLflow run's artifacts.")
