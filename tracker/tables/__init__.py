"""The tables of schema `headbook`, as migrations/ makes them."""

from tracker.tables.inputs import RunInputRow
from tracker.tables.metadata import BY_CODE, Row
from tracker.tables.models import ComponentRow, ModelRenamingRow, ModelRow
from tracker.tables.parts import (
    CHUNK_BYTES,
    PartRow,
    PartScoreRow,
    PartTensorChunkRow,
    PartTensorRow,
)
from tracker.tables.prompts import DistributionRow, ItemRow, PromptPairRow, PromptRow
from tracker.tables.run_log import RunLogRow
from tracker.tables.runs import PublicationRow, RunEventRow, RunRow, StudyRow, StudyRunRow
from tracker.tables.scores import ScoreRow, TensorRow
from tracker.tables.workers import WorkerRow

__all__ = [
    "BY_CODE",
    "CHUNK_BYTES",
    "ComponentRow",
    "DistributionRow",
    "ItemRow",
    "ModelRenamingRow",
    "ModelRow",
    "PartRow",
    "PartScoreRow",
    "PartTensorChunkRow",
    "PartTensorRow",
    "PromptPairRow",
    "PromptRow",
    "PublicationRow",
    "Row",
    "RunEventRow",
    "RunInputRow",
    "RunLogRow",
    "RunRow",
    "ScoreRow",
    "StudyRow",
    "StudyRunRow",
    "TensorRow",
    "WorkerRow",
]
