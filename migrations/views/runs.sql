-- Left joins, because a query that selects no column of such a table then does not read it. No
-- volatile function, such as clock_timestamp(): with one the planner makes the whole view first.
CREATE OR REPLACE VIEW results.runs AS
SELECT run.id AS run_id, run.fingerprint,
       run.analysis, run.analysis_version, run.engine_version, run.params, run.seed,
       run.model_id, model.name AS model, model.revision AS model_revision, model.dtype,
       run.distribution_id, distribution.name AS distribution,
       distribution.hash AS distribution_hash, distribution.spec AS recipe,
       run.priority, run.state,
       coalesce(
         (
           SELECT 'waiting: needs ' || CASE
               WHEN run.refused_memory >= coalesce(run.needs_memory, 0)
               THEN 'more than ' || pg_size_pretty(run.refused_memory)
               ELSE pg_size_pretty(run.needs_memory) END
             || '; the largest worker has ' || pg_size_pretty(max(worker.memory))
           FROM headbook.worker
           WHERE run.state IN ('queued', 'running') AND worker.stopped_at IS NULL
             AND worker.last_seen > statement_timestamp() - interval '1 minute'
           HAVING NOT bool_or(coalesce(run.needs_memory <= worker.memory, true)
             AND coalesce(run.refused_memory < worker.memory, true))
         ),
         CASE WHEN model.proof IN ('unproved', 'proving') AND run.finished_at IS NULL THEN
           'waiting: its model is not proved yet' || coalesce(' (' || model.proof_reason || ')', '')
         END,
         run.reason,
         (
           SELECT 'waiting for run ' || string_agg(
             left(needed.id::text, 8) || ' (' || needed.analysis || ')', ', '
             ORDER BY run_input.name)
           FROM headbook.run_input
           JOIN headbook.run AS needed ON needed.id = run_input.needs_run_id
           WHERE run_input.run_id = run.id AND needed.finished_at IS NULL
         )
       ) AS reason,
       run.n_prompts,
       (SELECT coalesce(sum(part.done), 0) FROM headbook.part WHERE part.run_id = run.id) AS done,
       run.attempt, run.max_attempts,
       run.created_by, run.created_at, run.started_at, run.cancel_requested_at, run.finished_at,
       publication.state = 'published' AS published, publication.error AS publication_error,
       publication.mlflow_experiment_id, publication.mlflow_run_id,
       run.notes, run.provenance
FROM headbook.run
LEFT JOIN headbook.model ON model.id = run.model_id
LEFT JOIN headbook.distribution ON distribution.id = run.distribution_id
LEFT JOIN headbook.publication ON publication.run_id = run.id;

COMMENT ON VIEW results.runs IS 'Every run: what it was asked to do, and how it stands.';
COMMENT ON COLUMN results.runs.run_id IS 'Id of the run.';
COMMENT ON COLUMN results.runs.fingerprint IS
  'Hash of all that the numbers depend on; equal only for runs that repeat each other.';
COMMENT ON COLUMN results.runs.analysis IS 'Name of the analysis.';
COMMENT ON COLUMN results.runs.analysis_version IS
  'Its version; numbers of different versions are not comparable.';
COMMENT ON COLUMN results.runs.engine_version IS
  'Version of what recorded the model; numbers of different versions are not comparable.';
COMMENT ON COLUMN results.runs.params IS 'Parameters of the analysis, all of them.';
COMMENT ON COLUMN results.runs.seed IS 'Seed of the bootstrap.';
COMMENT ON COLUMN results.runs.model_id IS 'The model; joins results.models.';
COMMENT ON COLUMN results.runs.model IS 'Name of the model.';
COMMENT ON COLUMN results.runs.model_revision IS 'Revision of the model.';
COMMENT ON COLUMN results.runs.dtype IS 'Type of the weights in memory, e.g. float32.';
COMMENT ON COLUMN results.runs.distribution_id IS
  'The prompt distribution; joins results.distributions.';
COMMENT ON COLUMN results.runs.distribution IS
  'Name of the prompt distribution: data/template/labels, or data/counterfactual; recipe has the rest.';
COMMENT ON COLUMN results.runs.distribution_hash IS
  'Hash of the prompt distribution; equal hashes mean the same prompts.';
COMMENT ON COLUMN results.runs.recipe IS
  'All that decides the prompts: split, seed, shots, options, separators and so on.';
COMMENT ON COLUMN results.runs.priority IS '0 now, 3 normal, 9 later: lower is earlier.';
COMMENT ON COLUMN results.runs.state IS
  'queued, running, finishing, or how it ended: succeeded, failed, cancelled.';
COMMENT ON COLUMN results.runs.reason IS 'Why it failed or what it waits for, in words.';
COMMENT ON COLUMN results.runs.n_prompts IS 'Prompts to measure.';
COMMENT ON COLUMN results.runs.done IS 'Prompts measured so far, from 0 to n_prompts.';
COMMENT ON COLUMN results.runs.attempt IS 'Which try this is, from 1.';
COMMENT ON COLUMN results.runs.max_attempts IS 'Tries before it fails.';
COMMENT ON COLUMN results.runs.created_by IS 'Who queued it.';
COMMENT ON COLUMN results.runs.created_at IS 'When it was queued, by the clock of this database.';
COMMENT ON COLUMN results.runs.started_at IS 'When its first part was claimed.';
COMMENT ON COLUMN results.runs.cancel_requested_at IS 'When a person cancelled it.';
COMMENT ON COLUMN results.runs.finished_at IS 'When it ended; NULL while it has not.';
COMMENT ON COLUMN results.runs.published IS 'Whether MLflow shows it as it is here.';
COMMENT ON COLUMN results.runs.publication_error IS
  'Why MLflow does not show it yet, where a try has failed.';
COMMENT ON COLUMN results.runs.mlflow_experiment_id IS 'Id of its experiment in MLflow.';
COMMENT ON COLUMN results.runs.mlflow_run_id IS 'Id of its run in MLflow.';
COMMENT ON COLUMN results.runs.notes IS
  'Conventions of the analysis, what its scores mean, and warnings about the numbers.';
COMMENT ON COLUMN results.runs.provenance IS
  'Code version, library versions, device, dtype and flags it was measured with.';
