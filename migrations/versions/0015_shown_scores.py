"""The recipe of the prompts beside every score; comments say when there is no interval."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

HEAD_SCORES = """
CREATE OR REPLACE VIEW results.head_scores WITH (security_barrier) AS
SELECT score.run_id, run.analysis, run.analysis_version,
       model.name AS model, model.revision AS model_revision, model.dtype,
       distribution.name AS distribution, distribution.hash AS distribution_hash,
       run.params, run.seed,
       component.layer, component.index AS head,
       score.metric, score.site, score.condition, score.x,
       score.n, score.skipped, score.mean, score.sem, score.ci_low, score.ci_high,
       run.created_by, run.finished_at{more}
FROM headbook.score
JOIN headbook.component ON component.id = score.component_id
JOIN headbook.run ON run.id = score.run_id
JOIN headbook.model ON model.id = run.model_id
JOIN headbook.distribution ON distribution.id = run.distribution_id
WHERE component.kind = 'head' AND run.state = 'succeeded'
"""
RECIPE = ", distribution.spec AS recipe"
NONE = "NULL where one item counts, or where the page of analyses says why there is none."
BEFORE = {
    "distribution": "Name of the prompt distribution: data/template/labels.",
    "x": "Coordinate, e.g. a rank; else 0.",
    "ci_low": "Lower end of the 95 % interval over items.",
    "ci_high": "Upper end of the 95 % interval over items.",
}
AFTER = {
    "distribution": "Name of the prompt distribution: data/template/labels; recipe has the rest.",
    "x": "Coordinate, e.g. a rank, which may be 0; also 0 for what has none.",
    "ci_low": f"Lower end of the 95 % interval over items; {NONE}",
    "ci_high": f"Upper end of the 95 % interval over items; {NONE}",
    "recipe": "All that decides the prompts: split, seed, shots, options, separators and so on.",
}


def upgrade() -> None:
    op.execute(HEAD_SCORES.format(more=RECIPE))
    _comment(AFTER)


def downgrade() -> None:
    """A view loses a column only by being made anew, with its comments and rights."""
    view = "'results.head_scores'::regclass"
    of_view = op.get_bind().scalar(sa.text(f"SELECT obj_description({view}, 'pg_class')"))
    of_columns = op.get_bind().execute(
        sa.text(
            f"SELECT attname, col_description({view}, attnum) FROM pg_attribute"
            f" WHERE attrelid = {view} AND attname <> 'recipe'"
        )
    )
    comments: dict[str, str] = dict(of_columns.all())
    op.execute("DROP VIEW results.head_scores")
    op.execute(HEAD_SCORES.format(more=""))
    op.execute(f"COMMENT ON VIEW results.head_scores IS '{of_view}'")
    _comment(comments | BEFORE)
    op.execute("GRANT SELECT ON results.head_scores TO headbook_reader, headbook_worker")


def _comment(comments: dict[str, str]) -> None:
    for column, comment in comments.items():
        op.execute(f"COMMENT ON COLUMN results.head_scores.{column} IS '{comment}'")
