"""Intervals of proportions are not from a bootstrap: the columns say what all intervals are."""

from alembic import op

revision = "0014"
down_revision = "0013"

TABLES = ("headbook.score", "results.head_scores")


def upgrade() -> None:
    _comment("95 % interval over items")


def downgrade() -> None:
    _comment("95 % bootstrap interval over items")


def _comment(what: str) -> None:
    for table in TABLES:
        for column, end in (("ci_low", "Lower"), ("ci_high", "Upper")):
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{end} end of the {what}.'")
