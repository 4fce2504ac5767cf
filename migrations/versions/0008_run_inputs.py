"""Runs that need the results of others."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

RUN_INPUTS = """
CREATE VIEW results.run_inputs WITH (security_barrier) AS
SELECT run.id AS run_id, run.analysis, run_input.name,
       needed.id AS input_run_id, needed.analysis AS input_analysis, needed.state AS input_state
FROM headbook.run_input
JOIN headbook.run ON run.id = run_input.run_id
JOIN headbook.run AS needed ON needed.id = run_input.needs_run_id
"""

COMMENTS = {
    "run_id": "The run that reads the result of another.",
    "analysis": "Name of its analysis.",
    "name": "What it calls the result.",
    "input_run_id": "The run whose result it reads; its scores are in head_scores.",
    "input_analysis": "Name of the analysis of that run.",
    "input_state": "How that run stands: queued, running, finishing, or how it ended.",
}


def upgrade() -> None:
    op.create_table(
        "run_input",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run that waits."),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="Under which the result is handed over."
        ),
        sa.Column(
            "needs_run_id", sa.Uuid(), nullable=False, comment="The run whose result it reads."
        ),
        sa.CheckConstraint("run_id <> needs_run_id", name=op.f("run_input_another_check")),
        sa.ForeignKeyConstraint(
            ["needs_run_id"], ["headbook.run.id"], name=op.f("run_input_needs_run_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("run_input_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("run_input_pkey")),
        schema="headbook",
        comment="A run reads another's result: it waits for it, and ends when it fails.",
    )
    op.create_index(
        op.f("run_input_needs_run_id_idx"), "run_input", ["needs_run_id"], schema="headbook"
    )
    op.execute("GRANT SELECT, INSERT ON headbook.run_input TO headbook_worker")
    op.execute(RUN_INPUTS)
    op.execute(
        "COMMENT ON VIEW results.run_inputs IS"
        " 'Which run reads the results of which other, to join the scores of both.'"
    )
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN results.run_inputs.{column} IS '{comment}'")
    op.execute("GRANT SELECT ON results.run_inputs TO headbook_reader, headbook_worker")


def downgrade() -> None:
    op.execute("DROP VIEW results.run_inputs")
    op.drop_table("run_input", schema="headbook")
