"""Devices and memory of workers, memory needs of runs, and proofs of models by workers."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0019"

_BYTES = sa.BigInteger()


def _columns() -> dict[str, list[sa.Column[Any]]]:
    """The new columns of each table."""
    return {
        "model": [
            sa.Column(
                "n_bytes",
                _BYTES,
                comment="Bytes of its weights in memory; NULL: added before this was asked.",
            ),
            sa.Column(
                "proof",
                sa.Text(),
                server_default=sa.text("'proved'"),
                nullable=False,
                comment="Whether a worker has shown that its layers add up: unproved, proving, "
                "proved or refused; runs wait for it.",
            ),
            sa.Column(
                "proof_reason",
                sa.Text(),
                comment="Why it is refused, or why its proof waits, in words.",
            ),
            sa.Column(
                "proof_epoch",
                _BYTES,
                server_default=sa.text("0"),
                nullable=False,
                comment="Fencing token of the proof; rises at claim and release.",
            ),
            sa.Column("proof_worker", sa.Text(), comment="The worker that proves it."),
            sa.Column(
                "proof_expires_at",
                sa.DateTime(timezone=True),
                comment="When the proof goes to another worker.",
            ),
            sa.Column(
                "proof_attempts",
                sa.Integer(),
                server_default=sa.text("0"),
                nullable=False,
                comment="Tries to prove it that came to no end.",
            ),
            sa.Column(
                "refused_memory",
                _BYTES,
                comment="Bytes of the largest worker that was too small to prove it.",
            ),
            sa.Column(
                "proved_at",
                sa.DateTime(timezone=True),
                comment="When a worker has proved it; NULL: when it was added, or not yet.",
            ),
        ],
        "worker": [
            sa.Column(
                "devices",
                JSONB(),
                comment="Its devices: kind, name, memory in bytes, uuid; NULL: not known.",
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


CHECKS = {
    "proof": "proof IN ('unproved', 'proving', 'proved', 'refused')",
    "leased_while_proving": "(proof = 'proving') = (proof_worker IS NOT NULL)"
    " AND (proof = 'proving') = (proof_expires_at IS NOT NULL)",
    "refused": "proof <> 'refused' OR proof_reason IS NOT NULL",
}


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column, schema="headbook")
    for name, condition in CHECKS.items():
        op.create_check_constraint(
            op.f(f"model_{name}_check"), "model", sa.text(condition), schema="headbook"
        )
    op.create_index(
        "model_unproved",
        "model",
        ["id"],
        schema="headbook",
        postgresql_where=sa.text("proof IN ('unproved', 'proving')"),
    )


def downgrade() -> None:
    """All models count as proved, since a worker proves a model each time it loads it."""
    op.drop_index("model_unproved", "model", schema="headbook")
    for name in CHECKS:
        op.drop_constraint(op.f(f"model_{name}_check"), "model", schema="headbook")
    for table, columns in _columns().items():
        for column in reversed(columns):
            op.drop_column(table, column.name, schema="headbook")
