CREATE OR REPLACE VIEW results.scores AS
SELECT score.run_id, component.kind, component.layer, component.index,
       score.metric, score.site, score.condition, score.x,
       score.n, score.skipped, score.mean, score.sem, score.ci_low, score.ci_high,
       score.varied
FROM headbook.score
JOIN headbook.component ON component.id = score.component_id;

COMMENT ON VIEW results.scores IS
  'Every score of every component: heads as in head_scores, and MLPs, layers, the whole model. '
  'Runs that have not succeeded have none. docs/analyses.md says of each metric what it means, its '
  'unit, and whether higher or lower is better.';
COMMENT ON COLUMN results.scores.run_id IS 'The run the score comes from; joins results.runs.';
COMMENT ON COLUMN results.scores.kind IS
  'What is scored: model, head, kv_head, mlp, attn, embed, attn_bias, unembed or set.';
COMMENT ON COLUMN results.scores.layer IS 'Layer, from 0; -1 for what has no layer.';
COMMENT ON COLUMN results.scores.index IS 'Index in the layer, from 0; -1 for what has none.';
COMMENT ON COLUMN results.scores.metric IS 'Name of the metric, e.g. logit_attribution.';
COMMENT ON COLUMN results.scores.site IS 'Named activation, or empty.';
COMMENT ON COLUMN results.scores.condition IS 'What else was varied, or empty.';
COMMENT ON COLUMN results.scores.x IS
  'Coordinate, e.g. a rank, which may be 0; also 0 for what has none.';
COMMENT ON COLUMN results.scores.n IS 'Prompts that count.';
COMMENT ON COLUMN results.scores.skipped IS 'Prompts that were skipped.';
COMMENT ON COLUMN results.scores.mean IS
  'Mean over prompts, in the unit of the metric; NULL where no prompt counts.';
COMMENT ON COLUMN results.scores.sem IS
  'Standard error of the mean, in the same unit, prompts of one item taken together.';
COMMENT ON COLUMN results.scores.ci_low IS
  'Lower end of the 95 % interval over items; NULL where one item counts, or where the page of '
  'analyses says why there is none.';
COMMENT ON COLUMN results.scores.ci_high IS
  'Upper end of the 95 % interval over items; NULL where one item counts, or where the page of '
  'analyses says why there is none.';
COMMENT ON COLUMN results.scores.varied IS
  'What condition says, values by name: varied ->> ''placebo'' = ''random''.';
