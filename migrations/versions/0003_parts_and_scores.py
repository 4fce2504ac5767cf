"""Parts, what they measured, and what stays of a finished run."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "part",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the run, from 0.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="prompts: measures; finish: puts the slices together, once all are in.",
        ),
        sa.Column("start", sa.Integer(), nullable=False, comment="First prompt."),
        sa.Column("stop", sa.Integer(), nullable=False, comment="One past the last prompt."),
        sa.Column(
            "done",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Prompts measured so far.",
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued, running under a lease, or how it ended.",
        ),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Fencing token; rises at claim, release and reap.",
        ),
        sa.Column("worker", sa.Text(), nullable=True, comment="The worker that holds the lease."),
        sa.Column(
            "lease_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the part is taken back; not indexed, so that heartbeats stay cheap.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was last claimed.",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it ended."
        ),
        sa.CheckConstraint(
            "(state = 'running') = (worker IS NOT NULL) AND (state = 'running') = (lease_expires_at IS NOT NULL)",
            name=op.f("part_leased_while_running_check"),
        ),
        sa.CheckConstraint("kind IN ('prompts', 'finish')", name=op.f("part_kind_check")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("part_state_check"),
        ),
        sa.CheckConstraint(
            "start <= stop AND done BETWEEN 0 AND stop - start", name=op.f("part_slice_check")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("part_run_id_fkey")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("part_pkey")),
        schema="headbook",
        comment="A piece of a run that one worker does: a slice of its prompts.",
    )
    op.create_index(
        "part_running",
        "part",
        ["run_id"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "score",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("component_id", sa.BigInteger(), nullable=False, comment="The component."),
        sa.Column("metric", sa.Text(), nullable=False, comment="Name of the metric."),
        sa.Column("site", sa.Text(), nullable=False, comment="Named activation, or empty."),
        sa.Column(
            "condition", sa.Text(), nullable=False, comment="What else was varied, or empty."
        ),
        sa.Column(
            "x", sa.DOUBLE_PRECISION(), nullable=False, comment="Coordinate, e.g. a rank; else 0."
        ),
        sa.Column("n", sa.Integer(), nullable=False, comment="Prompts that count."),
        sa.Column("skipped", sa.Integer(), nullable=False, comment="Prompts that were skipped."),
        sa.Column("mean", sa.DOUBLE_PRECISION(), nullable=True, comment="Mean over prompts."),
        sa.Column(
            "sem",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Standard error of the mean, prompts of one item taken together.",
        ),
        sa.Column(
            "ci_low",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Lower end of the 95 % bootstrap interval over items.",
        ),
        sa.Column(
            "ci_high",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Upper end of the 95 % bootstrap interval over items.",
        ),
        sa.Column(
            "values",
            sa.ARRAY(sa.REAL()),
            nullable=True,
            comment="One value per prompt, in the order of the distribution's prompts; NULL inside: skipped; NULL as a whole: a number about the run, such as the size of a set.",
        ),
        sa.ForeignKeyConstraint(
            ["component_id"], ["headbook.component.id"], name=op.f("score_component_id_fkey")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("score_run_id_fkey")),
        sa.PrimaryKeyConstraint(
            "run_id", "component_id", "metric", "site", "condition", "x", name=op.f("score_pkey")
        ),
        schema="headbook",
        comment="One metric of one component in one run.",
    )
    op.create_index(
        op.f("score_component_id_metric_idx"),
        "score",
        ["component_id", "metric"],
        unique=False,
        schema="headbook",
    )
    op.create_table(
        "tensor",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the tensor."),
        sa.Column(
            "axes", sa.ARRAY(sa.Text()), nullable=False, comment="Name of each axis; prompt first."
        ),
        sa.Column(
            "coordinates",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What lies along an axis, by axis name.",
        ),
        sa.Column("dtype", sa.Text(), nullable=False, comment="NumPy's name of the dtype."),
        sa.Column("shape", sa.ARRAY(sa.Integer()), nullable=False, comment="Length of each axis."),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="Hash of the stored file; a reader checks it.",
        ),
        sa.Column(
            "size_bytes", sa.BigInteger(), nullable=False, comment="Size of the stored file."
        ),
        sa.Column(
            "mlflow_path",
            sa.Text(),
            nullable=False,
            comment="Path among the MLflow run's artifacts.",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("tensor_run_id_fkey")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("tensor_pkey")),
        schema="headbook",
        comment="A stored array: what it is, and where its bytes lie.",
    )
    op.create_table(
        "part_score",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False, comment="The part."),
        sa.Column("component_id", sa.BigInteger(), nullable=False, comment="The component."),
        sa.Column("metric", sa.Text(), nullable=False, comment="Name of the metric."),
        sa.Column("site", sa.Text(), nullable=False, comment="Named activation, or empty."),
        sa.Column(
            "condition", sa.Text(), nullable=False, comment="What else was varied, or empty."
        ),
        sa.Column(
            "x", sa.DOUBLE_PRECISION(), nullable=False, comment="Coordinate, e.g. a rank; else 0."
        ),
        sa.Column(
            "values",
            sa.ARRAY(sa.REAL()),
            nullable=False,
            comment="One value per prompt of the part; NULL where it was skipped.",
        ),
        sa.ForeignKeyConstraint(
            ["component_id"], ["headbook.component.id"], name=op.f("part_score_component_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "part"],
            ["headbook.part.run_id", "headbook.part.number"],
            name=op.f("part_score_run_id_part_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "run_id",
            "part",
            "component_id",
            "metric",
            "site",
            "condition",
            "x",
            name=op.f("part_score_pkey"),
        ),
        schema="headbook",
        comment="What a part has measured, until the run finishes and `score` holds it.",
    )
    op.create_table(
        "part_tensor",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False, comment="The part."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the tensor."),
        sa.Column(
            "axes", sa.ARRAY(sa.Text()), nullable=False, comment="Name of each axis; prompt first."
        ),
        sa.Column(
            "coordinates",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What lies along an axis, by axis name.",
        ),
        sa.Column("dtype", sa.Text(), nullable=False, comment="NumPy's name of the dtype."),
        sa.Column("shape", sa.ARRAY(sa.Integer()), nullable=False, comment="Length of each axis."),
        sa.Column(
            "data", sa.LargeBinary(), nullable=False, comment="The array, little-endian, C order."
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "part"],
            ["headbook.part.run_id", "headbook.part.number"],
            name=op.f("part_tensor_run_id_part_fkey"),
        ),
        sa.PrimaryKeyConstraint("run_id", "part", "name", name=op.f("part_tensor_pkey")),
        schema="headbook",
        comment="A slice of a tensor, until the run finishes and MLflow stores it whole.",
    )


def downgrade() -> None:
    op.drop_table("part_tensor", schema="headbook")
    op.drop_table("part_score", schema="headbook")
    op.drop_table("tensor", schema="headbook")
    op.drop_index(op.f("score_component_id_metric_idx"), table_name="score", schema="headbook")
    op.drop_table("score", schema="headbook")
    op.drop_index(
        "part_running",
        table_name="part",
        schema="headbook",
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_table("part", schema="headbook")
