"""The views people query, in schema `results`, and who may do what."""

from alembic import op

revision = "0005"
down_revision = "0004"

HEAD_SCORES = """
CREATE VIEW results.head_scores WITH (security_barrier) AS
SELECT score.run_id, run.analysis, run.analysis_version,
       model.name AS model, model.revision AS model_revision, model.dtype,
       distribution.name AS distribution, distribution.hash AS distribution_hash,
       run.params, run.seed,
       component.layer, component.index AS head,
       score.metric, score.site, score.condition, score.x,
       score.n, score.skipped, score.mean, score.sem, score.ci_low, score.ci_high,
       run.created_by, run.finished_at
FROM headbook.score
JOIN headbook.component ON component.id = score.component_id
JOIN headbook.run ON run.id = score.run_id
JOIN headbook.model ON model.id = run.model_id
JOIN headbook.distribution ON distribution.id = run.distribution_id
WHERE component.kind = 'head' AND run.state = 'succeeded'
"""

COMMENTS = {
    "run_id": "The run the score comes from.",
    "analysis": "Name of the analysis.",
    "analysis_version": "Its version; numbers of different versions are not comparable.",
    "model": "Name of the model.",
    "model_revision": "Revision of the model.",
    "dtype": "Type of the weights in memory.",
    "distribution": "Name of the prompt distribution: data/template/labels.",
    "distribution_hash": "Hash of the prompt distribution; equal hashes mean the same prompts.",
    "params": "Parameters of the analysis.",
    "seed": "Seed of the bootstrap.",
    "layer": "Layer of the head, from 0.",
    "head": "Index of the head in its layer, from 0.",
    "metric": "Name of the metric, e.g. logit_attribution.",
    "site": "Named activation, or empty.",
    "condition": "What else was varied, or empty.",
    "x": "Coordinate, e.g. a rank; else 0.",
    "n": "Prompts that count.",
    "skipped": "Prompts that were skipped.",
    "mean": "Mean over prompts.",
    "sem": "Standard error of the mean.",
    "ci_low": "Lower end of the 95 % bootstrap interval over items.",
    "ci_high": "Upper end of the 95 % bootstrap interval over items.",
    "created_by": "Who queued the run.",
    "finished_at": "When the run ended.",
}


def upgrade() -> None:
    op.execute("CREATE SCHEMA results")
    op.execute("COMMENT ON SCHEMA results IS 'What people query: stable while tables change.'")
    op.execute("COMMENT ON SCHEMA headbook IS 'The tables of the product; query results instead.'")
    op.execute(HEAD_SCORES)
    op.execute(
        "COMMENT ON VIEW results.head_scores IS"
        " 'Every score of every attention head in every run that succeeded.'"
    )
    for column, comment in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN results.head_scores.{column} IS '{comment}'")
    op.execute("GRANT USAGE ON SCHEMA results TO headbook_reader, headbook_worker")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA results TO headbook_reader, headbook_worker")
    op.execute("GRANT USAGE ON SCHEMA headbook TO headbook_worker")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA headbook TO headbook_worker"
    )
    # What happened stays on record, and only the migrations change the version.
    op.execute("REVOKE UPDATE, DELETE ON headbook.run_event FROM headbook_worker")
    op.execute("REVOKE INSERT, UPDATE, DELETE ON headbook.alembic_version FROM headbook_worker")


def downgrade() -> None:
    op.execute("DROP VIEW results.head_scores")
    op.execute("DROP SCHEMA results")
    op.execute("COMMENT ON SCHEMA headbook IS NULL")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA headbook FROM headbook_worker")
    op.execute("REVOKE ALL ON SCHEMA headbook FROM headbook_worker")
