"""Store the bytes of a part's tensors as chunks of 4 MiB in a table of their own.

Tensors of runs in progress are split into chunks; the downgrade joins them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

CHUNK = 4 * 2**20
ENDED = "('cancelled', 'failed', 'succeeded')"
OF_ENDED_RUNS = (
    "DELETE FROM headbook.{table} USING headbook.run"
    f" WHERE run.id = {{table}}.run_id AND run.state IN {ENDED}"
)
CUT = f"""
INSERT INTO headbook.part_tensor_chunk (run_id, part, epoch, name, number, data)
SELECT run_id, part, part.epoch, name, place, substring(data FROM place * {CHUNK} + 1 FOR {CHUNK})
FROM headbook.part_tensor
JOIN headbook.part USING (run_id)
CROSS JOIN LATERAL generate_series(0, (octet_length(data) - 1) / {CHUNK}) AS place
WHERE part.number = part AND octet_length(data) > 0
"""
DESCRIBE = """
UPDATE headbook.part_tensor SET epoch = part.epoch, sha256 = encode(sha256(data), 'hex')
FROM headbook.part WHERE part.run_id = part_tensor.run_id AND part.number = part_tensor.part
"""
JOIN = """
UPDATE headbook.part_tensor AS whole SET data = coalesce((
  SELECT string_agg(data, ''::bytea ORDER BY number) FROM headbook.part_tensor_chunk AS chunk
  WHERE chunk.run_id = whole.run_id AND chunk.part = whole.part
    AND chunk.epoch = whole.epoch AND chunk.name = whole.name), ''::bytea)
"""


def upgrade() -> None:
    op.create_table(
        "part_tensor_chunk",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False, comment="The part."),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="The claim that wrote it.",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the tensor."),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the slice, from 0.",
        ),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="The bytes."),
        sa.CheckConstraint(
            f"octet_length(data) <= {CHUNK}", name=op.f("part_tensor_chunk_size_check")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "part"],
            ["headbook.part.run_id", "headbook.part.number"],
            name=op.f("part_tensor_chunk_run_id_part_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "run_id", "part", "epoch", "name", "number", name=op.f("part_tensor_chunk_pkey")
        ),
        schema="headbook",
        comment="Bytes of a slice of a tensor: little-endian, C order. They count once part_tensor "
        "names their epoch; they are removed when the run has ended.",
    )
    # Floats hardly compress, and trying to takes longer than writing them.
    op.execute("ALTER TABLE headbook.part_tensor_chunk ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("GRANT SELECT, INSERT, DELETE ON headbook.part_tensor_chunk TO headbook_worker")
    op.add_column(
        "part_tensor",
        sa.Column("epoch", sa.BigInteger(), comment="Epoch of the chunks that hold it."),
        schema="headbook",
    )
    op.add_column(
        "part_tensor",
        sa.Column("sha256", sa.Text(), comment="Hash of the bytes of its chunks."),
        schema="headbook",
    )
    op.execute(OF_ENDED_RUNS.format(table="part_tensor"))
    op.execute(CUT)
    op.execute(DESCRIBE)
    for column in ("epoch", "sha256"):
        op.alter_column("part_tensor", column, nullable=False, schema="headbook")
    op.drop_column("part_tensor", "data", schema="headbook")


def downgrade() -> None:
    op.add_column(
        "part_tensor",
        sa.Column("data", sa.LargeBinary(), comment="The array, little-endian, C order."),
        schema="headbook",
    )
    op.execute(OF_ENDED_RUNS.format(table="part_tensor"))
    op.execute(JOIN)
    op.alter_column("part_tensor", "data", nullable=False, schema="headbook")
    op.drop_column("part_tensor", "sha256", schema="headbook")
    op.drop_column("part_tensor", "epoch", schema="headbook")
    op.drop_table("part_tensor_chunk", schema="headbook")
