"""What was logged and printed while the parts of runs were worked on."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

LEVELS = ("debug", "info", "warning", "error", "critical", "stdout", "stderr")

RUN_LOGS = """
CREATE VIEW results.run_logs WITH (security_barrier) AS
SELECT run.id AS run_id, run.analysis,
       said.at, said.seq, said.part, said.epoch, said.worker, said.level, said.line
FROM (
  SELECT run_id, at, seq, part, epoch, worker, level, line FROM headbook.run_log
  UNION ALL
  SELECT run_id, at, seq, part, epoch, worker, 'event', event || coalesce(': ' || reason, '')
  FROM headbook.run_event
) AS said
JOIN headbook.run ON run.id = said.run_id
"""

COMMENTS = {
    "run_id": "The run.",
    "analysis": "Name of its analysis.",
    "at": "When it happened or was said, by the clock of this database.",
    "seq": "Order of events, and of lines, of the same time.",
    "part": "The part of the run; NULL: the run itself.",
    "epoch": "Epoch of the part; lines of an older claim are of a worker that lost the part.",
    "worker": "The worker that held the part, or said the line.",
    "level": "event: the run or a part moved; debug … critical: logged; stdout, stderr: printed.",
    "line": "The state that was entered and why, or one line of what was said.",
}


def upgrade() -> None:
    levels = ", ".join(f"'{level}'" for level in LEVELS)
    op.create_table(
        "run_log",
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of lines; of one run also of commits.",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was said.",
        ),
        sa.Column("part", sa.Integer(), nullable=False, comment="The part that was worked on."),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            nullable=False,
            comment="Epoch of the claim; with an older one than the part's it was taken back.",
        ),
        sa.Column("worker", sa.Text(), nullable=False, comment="The worker that said it."),
        sa.Column(
            "level",
            sa.Text(),
            nullable=False,
            comment="debug, info, warning, error, critical, or stdout, stderr: printed.",
        ),
        sa.Column("line", sa.Text(), nullable=False, comment="One line, without credentials."),
        sa.CheckConstraint(f"level IN ({levels})", name=op.f("run_log_level_check")),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("run_log_run_id_fkey")),
        sa.PrimaryKeyConstraint("seq", name=op.f("run_log_pkey")),
        schema="headbook",
        comment="What was logged and printed while a part was worked on, append-only.",
    )
    op.create_index(op.f("run_log_run_id_seq_idx"), "run_log", ["run_id", "seq"], schema="headbook")
    op.execute("GRANT SELECT, INSERT ON headbook.run_log TO headbook_worker")
    op.execute(RUN_LOGS)
    op.execute(
        "COMMENT ON VIEW results.run_logs IS"
        " 'What happened to each run, and what was logged and printed while it was worked on.'"
    )
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN results.run_logs.{column} IS '{comment}'")
    op.execute("GRANT SELECT ON results.run_logs TO headbook_reader, headbook_worker")


def downgrade() -> None:
    op.execute("DROP VIEW results.run_logs")
    op.drop_table("run_log", schema="headbook")
