"""What a model can read and was trained to read: prompts are judged before a run is queued."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

COLUMNS = {
    "n_embeddings": "Rows of the token embedding; NULL: added before this was asked.",
    "max_positions": (
        "Tokens that its table of positions has places for; NULL: no table, or not asked."
    ),
    "trained_positions": (
        "Tokens it was trained on, where longer prompts can be read; NULL: not known."
    ),
}


def upgrade() -> None:
    for name, comment in COLUMNS.items():
        column = sa.Column(name, sa.Integer(), comment=comment)
        op.add_column("model", column, schema="headbook")


def downgrade() -> None:
    for name in reversed(COLUMNS):
        op.drop_column("model", name, schema="headbook")
