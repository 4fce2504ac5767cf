"""Names have a length and an alphabet; a model's name that became another is on record.

Names that older versions took are mended where rows may still change: shortened, and what cannot
be seen in them is left out. Those of models and studies are composed (NFC) and lose what nobody
can type any more: spaces at the ends and two in a row, a dash before them. Runs that have ended
stay as they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

MOST = 200
UNSEEN = (
    r"[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e0fff]"
)


def is_name(column: str, most: int) -> str:
    return f"char_length({column}) BETWEEN 1 AND {most} AND {column} !~ '{UNSEEN}'"


def mended(column: str, most: int = MOST) -> str:
    """What is left of a name, in so many characters."""
    seen = f"btrim(left(regexp_replace({column}, '{UNSEEN}', '', 'g'), {most}))"
    return f"coalesce(nullif({seen}, ''), 'unnamed')"


def tidied(column: str) -> str:
    """The name as a person has to type it from now on."""
    seen = f"regexp_replace(normalize({column}, NFC), ' {{2,}}', ' ', 'g')"
    return f"coalesce(nullif(btrim(ltrim({seen}, ' -')), ''), 'unnamed')"


def tidying(table: str) -> str:
    """Two names that become the same are kept apart by their numbers."""
    alike = f"other.name <> it.name AND {tidied('other.name')} = {tidied('it.name')}"
    return (
        f"UPDATE headbook.{table} AS it SET name = CASE"
        f" WHEN EXISTS (SELECT FROM headbook.{table} AS other WHERE {alike})"
        f" THEN left({tidied('it.name')}, 160) || ' ' || it.id ELSE {tidied('it.name')} END"
        f" WHERE it.name <> {tidied('it.name')}"
    )


NAME, HOST, WORKER, DISTRIBUTION = (
    is_name("name", MOST),
    is_name("host", 255),
    is_name("name", 300),
    is_name("name", 3002),
)
PEOPLE, ANALYSIS = is_name("created_by", MOST), is_name("analysis", MOST)
# By table: what is named, and the condition of it.
CHECKS = (
    ("model", "name", NAME),
    ("study", "name", NAME),
    ("study", "created_by", PEOPLE),
    ("run", "names", f"finished_at IS NOT NULL OR {ANALYSIS} AND {PEOPLE}"),
    ("worker", "names", f"{WORKER} AND {HOST}"),
    ("distribution", "name", DISTRIBUTION),
)

MENDING = (
    # Two names that were long or looked alike may become the same: their numbers keep them apart.
    f"UPDATE headbook.model SET name = {mended('name', 180)} || ' ' || id WHERE NOT ({NAME})",
    f"UPDATE headbook.study SET name = {mended('name', 160)} || ' ' || id WHERE NOT ({NAME})",
    f"UPDATE headbook.study SET created_by = {mended('created_by')} WHERE NOT ({PEOPLE})",
    f"UPDATE headbook.run SET created_by = {mended('created_by')}, analysis = {mended('analysis')}"
    f" WHERE finished_at IS NULL AND NOT ({ANALYSIS} AND {PEOPLE})",
    f"UPDATE headbook.distribution SET name = {mended('name', 3000)} WHERE NOT ({DISTRIBUTION})",
    f"DELETE FROM headbook.worker WHERE NOT ({WORKER} AND {HOST})",
    tidying("model"),
    tidying("study"),
)

RENAMINGS = """
CREATE VIEW results.model_renamings WITH (security_barrier) AS
SELECT at, renamed_by, old_name, new_name FROM headbook.model_renaming
"""

COMMENTS = {
    "at": "When, by the clock of this database.",
    "renamed_by": "Who renamed them.",
    "old_name": "What they were called.",
    "new_name": "What they are called from then on, in runs of before as well.",
}


def upgrade() -> None:
    for statement in MENDING:
        op.execute(statement)
    for table, name, condition in CHECKS:
        op.create_check_constraint(
            op.f(f"{table}_{name}_check"), table, sa.text(condition), schema="headbook"
        )
    op.create_table(
        "model_renaming",
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of renamings.",
        ),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.Column("renamed_by", sa.Text(), nullable=False, comment="Who renamed them."),
        sa.Column("old_name", sa.Text(), nullable=False, comment="What they were called."),
        sa.Column(
            "new_name",
            sa.Text(),
            nullable=False,
            comment="What they are called from then on.",
        ),
        sa.CheckConstraint(is_name("new_name", MOST), name=op.f("model_renaming_new_name_check")),
        sa.PrimaryKeyConstraint("seq", name=op.f("model_renaming_pkey")),
        schema="headbook",
        comment="A name of models that became another, append-only.",
    )
    op.execute("GRANT SELECT, INSERT ON headbook.model_renaming TO headbook_worker")
    op.execute(RENAMINGS)
    op.execute(
        "COMMENT ON VIEW results.model_renamings IS 'Names of models that became others, and when.'"
    )
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN results.model_renamings.{column} IS '{comment}'")
    op.execute("GRANT SELECT ON results.model_renamings TO headbook_reader, headbook_worker")


def downgrade() -> None:
    op.execute("DROP VIEW results.model_renamings")
    op.drop_table("model_renaming", schema="headbook")
    for table, name, _ in CHECKS:
        op.drop_constraint(op.f(f"{table}_{name}_check"), table, schema="headbook")
