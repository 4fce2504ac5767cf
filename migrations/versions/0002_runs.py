"""Studies, runs, what happened to them, and their mirror in MLflow."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Name of the study on the wire."),
        sa.Column("name", sa.Text(), nullable=False, comment="What people call it."),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Who queued its first run."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was made.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("study_pkey")),
        sa.UniqueConstraint("name", name=op.f("study_name_key")),
        schema="headbook",
        comment="A group of runs that were queued together.",
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Name of the run everywhere."),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="Hash of all that the numbers depend on.",
        ),
        sa.Column(
            "rerun_of",
            sa.Uuid(),
            nullable=True,
            comment="The run of the same fingerprint this one repeats.",
        ),
        sa.Column(
            "nonce",
            sa.Text(),
            nullable=True,
            comment="Set by a form: a second click on it makes no second run.",
        ),
        sa.Column(
            "analysis", sa.Text(), nullable=False, comment="Registered name of the analysis."
        ),
        sa.Column(
            "analysis_version", sa.Integer(), nullable=False, comment="Version of the analysis."
        ),
        sa.Column(
            "engine_version",
            sa.Integer(),
            nullable=False,
            comment="Version of what recorded the model.",
        ),
        sa.Column(
            "params",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Parameters, validated by the analysis.",
        ),
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="The model."),
        sa.Column(
            "distribution_id", sa.BigInteger(), nullable=False, comment="The prompt distribution."
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="Seed of the bootstrap."),
        sa.Column("priority", sa.Integer(), nullable=False, comment="0 now, 3 normal, 9 later."),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued, running, finishing, or how it ended.",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it failed or waits, in words."),
        sa.Column("n_prompts", sa.Integer(), nullable=False, comment="Prompts to measure."),
        sa.Column(
            "n_parts", sa.Integer(), nullable=False, comment="Parts the prompts are cut into."
        ),
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="Which try this is, from 1.",
        ),
        sa.Column(
            "max_attempts",
            sa.Integer(),
            server_default="3",
            nullable=False,
            comment="Tries before it fails.",
        ),
        sa.Column(
            "crashes",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Workers it has lost.",
        ),
        sa.Column(
            "max_crashes",
            sa.Integer(),
            server_default="3",
            nullable=False,
            comment="Lost workers before it fails.",
        ),
        sa.Column(
            "cancel_requested_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a person cancelled.",
        ),
        sa.Column(
            "dispatch_due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the dispatcher rings a worker for it; the outbox.",
        ),
        sa.Column(
            "dispatch_count",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Rings since it last moved; each waits longer.",
        ),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="No part is claimed before this.",
        ),
        sa.Column(
            "provenance",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Code version, library versions, device, dtype and flags it was measured with.",
        ),
        sa.Column(
            "notes",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Conventions of the analysis and warnings about the numbers.",
        ),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Who queued it."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was queued.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its first part was claimed.",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it ended."
        ),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("run_finished_check"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR reason IS NOT NULL", name=op.f("run_failed_for_a_reason_check")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finishing', 'succeeded', 'failed', 'cancelled')",
            name=op.f("run_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id"], ["headbook.distribution.id"], name=op.f("run_distribution_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["headbook.model.id"], name=op.f("run_model_id_fkey")
        ),
        sa.ForeignKeyConstraint(["rerun_of"], ["headbook.run.id"], name=op.f("run_rerun_of_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("run_pkey")),
        sa.UniqueConstraint("nonce", name=op.f("run_nonce_key")),
        schema="headbook",
        comment="One analysis of one model on one distribution, with its parameters and seed.",
    )
    op.create_index(
        op.f("run_created_at_idx"), "run", ["created_at"], unique=False, schema="headbook"
    )
    op.create_index(
        "run_due",
        "run",
        ["dispatch_due_at"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'succeeded')"),
    )
    op.create_index(
        "run_fingerprint_once",
        "run",
        ["fingerprint"],
        unique=True,
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('failed', 'cancelled') AND rerun_of IS NULL"),
    )
    op.create_table(
        "publication",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "state",
            sa.Text(),
            server_default="pending",
            nullable=False,
            comment="pending or published.",
        ),
        sa.Column(
            "mlflow_experiment_id", sa.Text(), nullable=True, comment="MLflow's experiment id."
        ),
        sa.Column("mlflow_run_id", sa.Text(), nullable=True, comment="MLflow's own run id."),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Tries to publish.",
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When to try next.",
        ),
        sa.Column(
            "held_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="A worker is publishing it and is given up after this.",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="Why the last try failed."),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When MLflow had it all.",
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'published')", name=op.f("publication_state_check")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("publication_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("publication_pkey")),
        schema="headbook",
        comment="The state of a run's mirror in MLflow.",
    )
    op.create_index(
        "publication_due",
        "publication",
        ["due_at"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "run_event",
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of events.",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "part",
            sa.Integer(),
            nullable=True,
            comment="The part it happened to; NULL: the run itself.",
        ),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.Column("event", sa.Text(), nullable=False, comment="The state that was entered."),
        sa.Column("epoch", sa.BigInteger(), nullable=True, comment="Epoch of the part after it."),
        sa.Column(
            "worker", sa.Text(), nullable=True, comment="The worker that holds or held the part."
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, in words."),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("run_event_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("run_event_pkey")),
        schema="headbook",
        comment="What happened to a run, append-only; written by triggers.",
    )
    op.create_index(
        op.f("run_event_run_id_seq_idx"),
        "run_event",
        ["run_id", "seq"],
        unique=False,
        schema="headbook",
    )
    op.create_table(
        "study_run",
        sa.Column("study_id", sa.Uuid(), nullable=False, comment="The study."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("study_run_run_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["headbook.study.id"], name=op.f("study_run_study_id_fkey")
        ),
        sa.PrimaryKeyConstraint("study_id", "run_id", name=op.f("study_run_pkey")),
        schema="headbook",
        comment="Which runs belong to which studies.",
    )


def downgrade() -> None:
    op.drop_table("study_run", schema="headbook")
    op.drop_index(op.f("run_event_run_id_seq_idx"), table_name="run_event", schema="headbook")
    op.drop_table("run_event", schema="headbook")
    op.drop_index(
        "publication_due",
        table_name="publication",
        schema="headbook",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("publication", schema="headbook")
    op.drop_index(
        "run_fingerprint_once",
        table_name="run",
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('failed', 'cancelled') AND rerun_of IS NULL"),
    )
    op.drop_index(
        "run_due",
        table_name="run",
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'succeeded')"),
    )
    op.drop_index(op.f("run_created_at_idx"), table_name="run", schema="headbook")
    op.drop_table("run", schema="headbook")
    op.drop_table("study", schema="headbook")
