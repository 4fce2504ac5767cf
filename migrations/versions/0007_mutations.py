"""A prompt's companions may be the same question told otherwise, not only sources."""

from alembic import op

revision = "0007"
down_revision = "0006"

KINDS = ("resample", "permute_options", "randomise_labels", "position_symbol")
MUTATIONS = (
    "random_letters",
    "shuffled",
    "ordered_letters",
    "numbers",
    "symbols",
    "other_separators",
    "no_prelude",
)
COMMENTS = {
    "kind": (
        "How the source was made: resample, permute_options …",
        "How the companion was made: resample, permute_options, shuffled …",
    ),
    "differs": (
        "What differs: question, options, labels, position, label.",
        "What differs: question, options, labels, position, label, shots, wording.",
    ),
}
TABLE = (
    "The source prompt whose activations are put in place of a prompt's own.",
    "A source of activations for a prompt, or the same question told otherwise.",
)


def upgrade() -> None:
    _allow(*KINDS, *MUTATIONS)
    _describe(new=1)


def downgrade() -> None:
    told = ", ".join(f"'{kind}'" for kind in MUTATIONS)
    op.execute(f"DELETE FROM headbook.prompt_pair WHERE kind IN ({told})")
    _allow(*KINDS)
    _describe(new=0)


def _allow(*kinds: str) -> None:
    name = op.f("prompt_pair_kind_check")
    op.drop_constraint(name, "prompt_pair", schema="headbook", type_="check")
    allowed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(name, "prompt_pair", f"kind IN ({allowed})", schema="headbook")


def _describe(*, new: int) -> None:
    for column, comments in COMMENTS.items():
        said = comments[new].replace("'", "''")
        op.execute(f"COMMENT ON COLUMN headbook.prompt_pair.{column} IS '{said}'")
    said = TABLE[new].replace("'", "''")
    op.execute(f"COMMENT ON TABLE headbook.prompt_pair IS '{said}'")
