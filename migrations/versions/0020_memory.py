"""What workers have of devices and memory, and what runs need of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"

_BYTES = sa.BigInteger()


def _columns() -> dict[str, list[sa.Column[Any]]]:
    """Of each table."""
    return {
        "model": [
            sa.Column(
                "n_bytes",
                _BYTES,
                comment="Bytes of its weights in memory; NULL: added before this was asked.",
            ),
        ],
        "worker": [
            sa.Column(
                "devices",
                JSONB(),
                comment="Its devices: kind, name, memory in bytes; NULL: not known.",
            ),
            sa.Column(
                "spreads",
                sa.Boolean(),
                server_default=sa.text("false"),
                nullable=False,
                comment="Whether one model may lie on all of its devices.",
            ),
            sa.Column(
                "memory",
                _BYTES,
                comment="Bytes that a model and its recordings may take; NULL: not known.",
            ),
            sa.Column(
                "only_above",
                _BYTES,
                comment="It takes only runs that need more bytes than this; NULL: all.",
            ),
            sa.Column(
                "host_memory",
                _BYTES,
                comment="Bytes that its processes may take of the host; NULL: not known.",
            ),
        ],
        "run": [
            sa.Column(
                "needs_memory",
                _BYTES,
                comment="Bytes of memory it takes at the least; NULL: not known, or no model.",
            ),
            sa.Column(
                "refused_memory",
                _BYTES,
                comment="Bytes of the largest worker that was too small for it.",
            ),
        ],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column, schema="headbook")


def downgrade() -> None:
    for table, columns in _columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name, schema="headbook")
