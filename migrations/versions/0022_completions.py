"""Prompts that are completions: several correct labels, groups, and counterfactuals as sources.

A downgrade is refused while completions are stored: earlier versions cannot read them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"

PROMPTS = ("prompt", "prompt_pair")
KINDS = (
    *("resample", "permute_options", "randomise_labels", "position_symbol", "paired"),
    *("random_letters", "shuffled", "ordered_letters", "numbers", "symbols"),
    *("other_separators", "no_prelude"),
)
REFUSED = """
DO $$ BEGIN
  IF EXISTS (SELECT FROM headbook.prompt WHERE cardinality(options) = 0) THEN
    RAISE EXCEPTION 'Runs on completions are stored, which earlier versions cannot read. Restore '
      'a backup from before the upgrade instead.';
  END IF;
END $$
"""
COMMENTS = {
    ("distribution", "name"): (
        "data/template/labels, for people.",
        "data/template/labels, or data/counterfactual of completions, for people.",
    ),
    ("prompt", "labels"): (
        "Symbols of the options.",
        "What may continue the text: symbols of the options, or candidates.",
    ),
    ("prompt", "options"): ("Texts of the options.", "Texts of the options; none of a completion."),
    ("prompt", "correct"): (
        "Index of the correct option, from 0.",
        "Indices of the correct labels, from 0: one or several.",
    ),
    ("prompt", "spans"): (
        "Characters [start, stop) of the question and of each label and option in the text; where "
        "each option's line stops; what joins a label to the text.",
        "Characters [start, stop) of the question and of each label and option in the text, or of "
        "the named parts of a completion; where each option's line stops; what joins a label to "
        "the text.",
    ),
    ("prompt_pair", "kind"): (
        "How the companion was made: resample, permute_options, shuffled …",
        "How the companion was made: resample, paired, permute_options, shuffled …",
    ),
    ("prompt_pair", "differs"): (
        "What differs: question, options, labels, position, label, shots, wording.",
        "What differs: question, options, labels, position, label, shots, wording, text.",
    ),
    ("prompt_pair", "labels"): (
        "Symbols of its options.",
        "What may continue it: symbols of its options, or candidates.",
    ),
    ("prompt_pair", "options"): (
        "Texts of its options.",
        "Texts of its options; none of a completion.",
    ),
    ("prompt_pair", "correct"): (
        "Index of its correct option, from 0.",
        "Indices of its correct labels, from 0: one or several.",
    ),
}
GROUPS = {
    "prompt": "Groups of completions that it belongs to, such as its template.",
    "prompt_pair": "Groups of completions that it belongs to.",
}


def upgrade() -> None:
    # Both tables are rewritten, which takes as long as they are large.
    op.execute("SET LOCAL statement_timeout = 0")
    for table in PROMPTS:
        op.execute(
            f"ALTER TABLE headbook.{table} ALTER correct TYPE integer[] USING ARRAY[correct]"
        )
        op.add_column(
            table,
            sa.Column(
                "groups",
                postgresql.JSONB(),
                server_default=sa.text("'{}'"),
                nullable=False,
                comment=GROUPS[table],
            ),
            schema="headbook",
        )
    _allow(KINDS)
    _comment(1)


def downgrade() -> None:
    op.execute(REFUSED)
    _comment(0)
    _allow([kind for kind in KINDS if kind != "paired"])
    for table in PROMPTS:
        op.drop_column(table, "groups", schema="headbook")
        op.execute(f"ALTER TABLE headbook.{table} ALTER correct TYPE integer USING correct[1]")


def _allow(kinds: tuple[str, ...] | list[str]) -> None:
    name = op.f("prompt_pair_kind_check")
    op.drop_constraint(name, "prompt_pair", schema="headbook", type_="check")
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(name, "prompt_pair", f"kind IN ({allowed})", schema="headbook")


def _comment(side: int) -> None:
    for (table, column), comments in COMMENTS.items():
        text = comments[side].replace("'", "''")
        op.execute(f"COMMENT ON COLUMN headbook.{table}.{column} IS '{text}'")
