"""When a run last lost a worker: what one outage takes from several workers is one crash."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column(
        "run",
        sa.Column(
            "crashed_at",
            sa.DateTime(timezone=True),
            comment="When its last crash was counted; a part claimed before it counts for no more.",
        ),
        schema="headbook",
    )


def downgrade() -> None:
    op.drop_column("run", "crashed_at", schema="headbook")
