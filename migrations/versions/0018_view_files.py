"""Views are created from the files in migrations/views; an index finds the studies of a run.

Later migrations can ignore the views: they are dropped before a migration and created after it.
"""

import sqlalchemy as sa
from alembic import op

from tracker.database import views

revision = "0018"
down_revision = "0017"

# The views as created by the migrations up to 0017.
NAMES = ("head_scores", "model_renamings", "run_inputs", "run_logs")
BEFORE = """
CREATE OR REPLACE VIEW results.head_scores WITH (security_barrier) AS
SELECT score.run_id, run.analysis, run.analysis_version,
       model.name AS model, model.revision AS model_revision, model.dtype,
       distribution.name AS distribution, distribution.hash AS distribution_hash,
       run.params, run.seed,
       component.layer, component.index AS head,
       score.metric, score.site, score.condition, score.x,
       score.n, score.skipped, score.mean, score.sem, score.ci_low, score.ci_high,
       run.created_by, run.finished_at,
       distribution.spec AS recipe
FROM headbook.score
JOIN headbook.component ON component.id = score.component_id
JOIN headbook.run ON run.id = score.run_id
JOIN headbook.model ON model.id = run.model_id
JOIN headbook.distribution ON distribution.id = run.distribution_id
WHERE component.kind = 'head' AND run.state = 'succeeded';

COMMENT ON VIEW results.head_scores IS
  'Every score of every attention head in every run that succeeded.';
COMMENT ON COLUMN results.head_scores.run_id IS 'The run the score comes from.';
COMMENT ON COLUMN results.head_scores.analysis IS 'Name of the analysis.';
COMMENT ON COLUMN results.head_scores.analysis_version IS
  'Its version; numbers of different versions are not comparable.';
COMMENT ON COLUMN results.head_scores.model IS 'Name of the model.';
COMMENT ON COLUMN results.head_scores.model_revision IS 'Revision of the model.';
COMMENT ON COLUMN results.head_scores.dtype IS 'Type of the weights in memory.';
COMMENT ON COLUMN results.head_scores.distribution IS
  'Name of the prompt distribution: data/template/labels; recipe has the rest.';
COMMENT ON COLUMN results.head_scores.distribution_hash IS
  'Hash of the prompt distribution; equal hashes mean the same prompts.';
COMMENT ON COLUMN results.head_scores.params IS 'Parameters of the analysis.';
COMMENT ON COLUMN results.head_scores.seed IS 'Seed of the bootstrap.';
COMMENT ON COLUMN results.head_scores.layer IS 'Layer of the head, from 0.';
COMMENT ON COLUMN results.head_scores.head IS 'Index of the head in its layer, from 0.';
COMMENT ON COLUMN results.head_scores.metric IS 'Name of the metric, e.g. logit_attribution.';
COMMENT ON COLUMN results.head_scores.site IS 'Named activation, or empty.';
COMMENT ON COLUMN results.head_scores.condition IS 'What else was varied, or empty.';
COMMENT ON COLUMN results.head_scores.x IS
  'Coordinate, e.g. a rank, which may be 0; also 0 for what has none.';
COMMENT ON COLUMN results.head_scores.n IS 'Prompts that count.';
COMMENT ON COLUMN results.head_scores.skipped IS 'Prompts that were skipped.';
COMMENT ON COLUMN results.head_scores.mean IS 'Mean over prompts.';
COMMENT ON COLUMN results.head_scores.sem IS 'Standard error of the mean.';
COMMENT ON COLUMN results.head_scores.ci_low IS
  'Lower end of the 95 % interval over items; NULL where one item counts, or where the page of '
  'analyses says why there is none.';
COMMENT ON COLUMN results.head_scores.ci_high IS
  'Upper end of the 95 % interval over items; NULL where one item counts, or where the page of '
  'analyses says why there is none.';
COMMENT ON COLUMN results.head_scores.created_by IS 'Who queued the run.';
COMMENT ON COLUMN results.head_scores.finished_at IS 'When the run ended.';
COMMENT ON COLUMN results.head_scores.recipe IS
  'All that decides the prompts: split, seed, shots, options, separators and so on.';

CREATE OR REPLACE VIEW results.model_renamings WITH (security_barrier) AS
SELECT at, renamed_by, old_name, new_name FROM headbook.model_renaming;

COMMENT ON VIEW results.model_renamings IS
  'Names of models that became others, and when.';
COMMENT ON COLUMN results.model_renamings.at IS 'When, by the clock of this database.';
COMMENT ON COLUMN results.model_renamings.renamed_by IS 'Who renamed them.';
COMMENT ON COLUMN results.model_renamings.old_name IS 'What they were called.';
COMMENT ON COLUMN results.model_renamings.new_name IS
  'What they are called from then on, in runs of before as well.';

CREATE OR REPLACE VIEW results.run_inputs WITH (security_barrier) AS
SELECT run.id AS run_id, run.analysis, run_input.name,
       needed.id AS input_run_id, needed.analysis AS input_analysis, needed.state AS input_state
FROM headbook.run_input
JOIN headbook.run ON run.id = run_input.run_id
JOIN headbook.run AS needed ON needed.id = run_input.needs_run_id;

COMMENT ON VIEW results.run_inputs IS
  'Which run reads the results of which other, to join the scores of both.';
COMMENT ON COLUMN results.run_inputs.run_id IS 'The run that reads the result of another.';
COMMENT ON COLUMN results.run_inputs.analysis IS 'Name of its analysis.';
COMMENT ON COLUMN results.run_inputs.name IS 'What it calls the result.';
COMMENT ON COLUMN results.run_inputs.input_run_id IS
  'The run whose result it reads; its scores are in head_scores.';
COMMENT ON COLUMN results.run_inputs.input_analysis IS 'Name of the analysis of that run.';
COMMENT ON COLUMN results.run_inputs.input_state IS
  'How that run stands: queued, running, finishing, or how it ended.';

CREATE OR REPLACE VIEW results.run_logs WITH (security_barrier) AS
SELECT run.id AS run_id, run.analysis,
       said.at, said.seq, said.part, said.epoch, said.worker, said.level, said.line
FROM (
  SELECT run_id, at, seq, part, epoch, worker, level, line FROM headbook.run_log
  UNION ALL
  SELECT run_id, at, seq, part, epoch, worker, 'event', event || coalesce(': ' || reason, '')
  FROM headbook.run_event
) AS said
JOIN headbook.run ON run.id = said.run_id;

COMMENT ON VIEW results.run_logs IS
  'What happened to each run, and what was logged and printed while it was worked on.';
COMMENT ON COLUMN results.run_logs.run_id IS 'The run.';
COMMENT ON COLUMN results.run_logs.analysis IS 'Name of its analysis.';
COMMENT ON COLUMN results.run_logs.at IS
  'When it happened or was said, by the clock of this database.';
COMMENT ON COLUMN results.run_logs.seq IS 'Order of events, and of lines, of the same time.';
COMMENT ON COLUMN results.run_logs.part IS 'The part of the run; NULL: the run itself.';
COMMENT ON COLUMN results.run_logs.epoch IS
  'Epoch of the part; lines of an older claim are of a worker that lost the part.';
COMMENT ON COLUMN results.run_logs.worker IS 'The worker that held the part, or said the line.';
COMMENT ON COLUMN results.run_logs.level IS
  'event: the run or a part moved; debug … critical: logged; stdout, stderr: printed.';
COMMENT ON COLUMN results.run_logs.line IS
  'The state that was entered and why, or one line of what was said.';
"""


def upgrade() -> None:
    op.create_table(
        "view_file",
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the view in schema results."),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="Of the file in migrations/views that it was made from; empty: of none.",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("view_file_pkey")),
        schema="headbook",
        comment="A view that an upgrade has made from a file.",
    )
    op.create_index(op.f("study_run_run_id_idx"), "study_run", ["run_id"], schema="headbook")
    op.execute("GRANT SELECT ON headbook.view_file TO headbook_worker")
    for name in NAMES:
        op.execute(f"INSERT INTO headbook.view_file (name, sha256) VALUES ('{name}', '')")
    views.drop(op.get_bind())


def downgrade() -> None:
    op.drop_index(op.f("study_run_run_id_idx"), table_name="study_run", schema="headbook")
    op.drop_table("view_file", schema="headbook")
    op.get_bind().exec_driver_sql(BEFORE, execution_options={"no_parameters": True})
    for name in NAMES:
        op.execute(f"GRANT SELECT ON results.{name} TO headbook_reader, headbook_worker")
