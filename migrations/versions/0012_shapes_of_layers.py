"""How every layer of a model ran: layers may differ, and values may be narrower than queries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"

COMMENTS = {  # column: before, after
    "n_heads": ("Attention heads per layer.", "Attention heads of the layer with most."),
    "n_kv_heads": ("Key-value heads per layer.", "Key-value heads of the layer with most."),
    "d_head": ("Width of a head.", "Width of the widest head's queries and keys."),
}


def upgrade() -> None:
    op.add_column(
        "model",
        sa.Column(
            "shapes",
            JSONB(),
            comment="Each layer as it ran: n_heads, n_kv_heads, d_qk, d_v, before_rotary; "
            "null until proved.",
        ),
        schema="headbook",
    )
    for column, (before, after) in COMMENTS.items():
        op.alter_column("model", column, comment=after, existing_comment=before, schema="headbook")


def downgrade() -> None:
    for column, (before, after) in COMMENTS.items():
        op.alter_column("model", column, comment=before, existing_comment=after, schema="headbook")
    op.drop_column("model", "shapes", schema="headbook")
