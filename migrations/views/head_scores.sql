-- security_barrier: it leaves out rows, which no function of a reader may see.
CREATE OR REPLACE VIEW results.head_scores WITH (security_barrier) AS
SELECT score.run_id, run.analysis, run.analysis_version,
       model.name AS model, model.revision AS model_revision, model.dtype,
       distribution.name AS distribution, distribution.hash AS distribution_hash,
       run.params, run.seed,
       component.layer, component.index AS head,
       score.metric, score.site, score.condition, score.x,
       score.n, score.skipped, score.mean, score.sem, score.ci_low, score.ci_high,
       run.created_by, run.finished_at,
       distribution.spec AS recipe,
       score.varied
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
  'Name of the prompt distribution: data/template/labels, or data/counterfactual; recipe has the rest.';
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
COMMENT ON COLUMN results.head_scores.varied IS
  'What condition says, values by name: varied ->> ''placebo'' = ''random''.';
