"""Pairs of base and source prompts, and every place in a prompt's text."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

SPANS = (
    "Characters [start, stop) of the question and of each label and option in the text; "
    "where each option's line stops; what joins a label to the text."
)
OLD_SPANS = "Characters [start, stop) of each label and option in the text."
SPEC = "The recipe: every field of it."
OLD_SPEC = "The recipe: data, template, labels, seed, size."

# All prompts so far end in "Answer: (", and have their question between prelude and "\n(".
FILL_SPANS = r"""
UPDATE headbook.prompt SET spans = spans || jsonb_build_object(
    'joint', '',
    'question', jsonb_build_array(
        strpos(text, E'\n\n') + 1, (spans -> 'labels' -> 0 ->> 0)::int - 2
    ),
    'line_stops', (
        SELECT jsonb_agg((option ->> 1)::int + 1 ORDER BY place)
        FROM jsonb_array_elements(spans -> 'options') WITH ORDINALITY AS each (option, place)
    )
)
"""


def upgrade() -> None:
    op.create_table(
        "prompt_pair",
        sa.Column(
            "distribution_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="The distribution of the base prompt.",
        ),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="The base prompt's place in it.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="How the source was made: resample, permute_options …",
        ),
        sa.Column(
            "seed",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Which draw of sources.",
        ),
        sa.Column(
            "source_number",
            sa.Integer(),
            nullable=False,
            comment="The prompt that the source is or, unless it was resampled, is a change of.",
        ),
        sa.Column(
            "differs",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="What differs: question, options, labels, position, label.",
        ),
        sa.Column("item_key", sa.Text(), nullable=False, comment="The item that the source asks."),
        sa.Column("text", sa.Text(), nullable=False, comment="The source's whole text."),
        sa.Column("labels", sa.ARRAY(sa.Text()), nullable=False, comment="Symbols of its options."),
        sa.Column("options", sa.ARRAY(sa.Text()), nullable=False, comment="Texts of its options."),
        sa.Column(
            "correct",
            sa.Integer(),
            nullable=False,
            comment="Index of its correct option, from 0.",
        ),
        sa.Column(
            "spans",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Places in its text, as those of a prompt.",
        ),
        sa.CheckConstraint(
            "kind IN ('resample', 'permute_options', 'randomise_labels', 'position_symbol')",
            name=op.f("prompt_pair_kind_check"),
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id", "number"],
            ["headbook.prompt.distribution_id", "headbook.prompt.number"],
            name=op.f("prompt_pair_distribution_id_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "distribution_id", "number", "kind", "seed", name=op.f("prompt_pair_pkey")
        ),
        schema="headbook",
        comment="The source prompt whose activations are put in place of a prompt's own.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON headbook.prompt_pair TO headbook_worker")
    op.execute(FILL_SPANS)
    _comment("prompt", "spans", SPANS, OLD_SPANS)
    _comment("distribution", "spec", SPEC, OLD_SPEC)


def downgrade() -> None:
    _comment("distribution", "spec", OLD_SPEC, SPEC)
    _comment("prompt", "spans", OLD_SPANS, SPANS)
    op.execute("UPDATE headbook.prompt SET spans = spans - '{joint,question,line_stops}'::text[]")
    op.drop_table("prompt_pair", schema="headbook")


def _comment(table: str, column: str, comment: str, old: str) -> None:
    op.alter_column(
        table,
        column,
        existing_type=postgresql.JSONB(astext_type=sa.Text()),
        existing_nullable=False,
        comment=comment,
        existing_comment=old,
        schema="headbook",
    )
