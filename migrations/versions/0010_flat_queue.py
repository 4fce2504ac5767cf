"""Indexes for what workers and dispatchers look at first; an ended run is due for publication."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

LIVE = "state IN ('finishing', 'queued', 'running')"
ENDED = "'cancelled', 'failed', 'succeeded'"
OLD_DUE = f"state NOT IN ({ENDED})"
INDEXES = {
    "run_due": ["priority", "dispatch_due_at"],
    "run_queue": ["priority", "created_at"],
    "run_queue_of_model": ["model_id", "priority", "created_at"],
}
MAKE_DUE = """
CREATE FUNCTION headbook.make_publication_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE headbook.publication SET due_at = clock_timestamp() WHERE run_id = NEW.id;
  RETURN NULL;
END $$
"""
NAMES = "host:pid, and a few letters that no other worker has."


def upgrade() -> None:
    op.drop_index("run_due", table_name="run", schema="headbook")
    for name, columns in INDEXES.items():
        op.create_index(name, "run", columns, schema="headbook", postgresql_where=sa.text(LIVE))
    op.create_index(op.f("run_fingerprint_idx"), "run", ["fingerprint"], schema="headbook")

    op.alter_column(
        "publication",
        "due_at",
        schema="headbook",
        nullable=True,
        server_default=None,
        comment="When to try next; NULL while the run has not ended.",
        existing_comment="When to try next.",
        existing_type=sa.DateTime(timezone=True),
    )
    op.execute(
        "UPDATE headbook.publication SET due_at = NULL"
        f" FROM headbook.run WHERE run.id = run_id AND run.{LIVE}"
    )
    op.drop_index("publication_due", table_name="publication", schema="headbook")
    op.create_index(
        "publication_due",
        "publication",
        ["due_at"],
        schema="headbook",
        postgresql_where=sa.text("state = 'pending' AND due_at IS NOT NULL"),
    )
    op.execute(MAKE_DUE)
    op.execute(
        "CREATE TRIGGER make_publication_due AFTER UPDATE OF state ON headbook.run FOR EACH ROW"
        f" WHEN (NEW.state IN ({ENDED})) EXECUTE FUNCTION headbook.make_publication_due()"
    )
    _name_workers(NAMES, "host:pid.")


def downgrade() -> None:
    _name_workers("host:pid.", NAMES)
    op.execute("DROP TRIGGER make_publication_due ON headbook.run")
    op.execute("DROP FUNCTION headbook.make_publication_due()")
    op.drop_index("publication_due", table_name="publication", schema="headbook")
    op.create_index(
        "publication_due",
        "publication",
        ["due_at"],
        schema="headbook",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.execute("UPDATE headbook.publication SET due_at = clock_timestamp() WHERE due_at IS NULL")
    op.alter_column(
        "publication",
        "due_at",
        schema="headbook",
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
        comment="When to try next.",
        existing_comment="When to try next; NULL while the run has not ended.",
        existing_type=sa.DateTime(timezone=True),
    )
    op.drop_index(op.f("run_fingerprint_idx"), table_name="run", schema="headbook")
    for name in reversed(INDEXES):
        op.drop_index(name, table_name="run", schema="headbook")
    op.create_index(
        "run_due",
        "run",
        ["dispatch_due_at"],
        schema="headbook",
        postgresql_where=sa.text(OLD_DUE),
    )


def _name_workers(comment: str, before: str) -> None:
    op.alter_column(
        "worker",
        "name",
        schema="headbook",
        comment=comment,
        existing_comment=before,
        existing_type=sa.Text(),
    )
