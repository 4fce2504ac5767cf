"""A publication that MLflow refuses is due no more; only what a comment says of it changes."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

BEFORE = "When to try next; NULL while the run has not ended."
AFTER = "When to try next; NULL while the run has not ended, or once MLflow has refused it."


def upgrade() -> None:
    _comment(BEFORE, AFTER)


def downgrade() -> None:
    _comment(AFTER, BEFORE)


def _comment(before: str, after: str) -> None:
    op.alter_column(
        "publication",
        "due_at",
        existing_type=sa.DateTime(timezone=True),
        existing_comment=before,
        comment=after,
        schema="headbook",
    )
