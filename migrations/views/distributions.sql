CREATE OR REPLACE VIEW results.distributions AS
SELECT id AS distribution_id, name, hash, size, spec AS recipe, created_at,
       (SELECT count(*) FROM headbook.run WHERE run.distribution_id = distribution.id) AS runs
FROM headbook.distribution;

COMMENT ON VIEW results.distributions IS
  'Every prompt distribution that a run has used: a recipe that yields the same prompts each time.';
COMMENT ON COLUMN results.distributions.distribution_id IS
  'Number of the distribution; joins results.runs. A higher one was used later for the first time.';
COMMENT ON COLUMN results.distributions.name IS
  'data/template/labels, or data/counterfactual of completions; recipe has the rest.';
COMMENT ON COLUMN results.distributions.hash IS
  'sha256 over recipe, items, template and prompts; equal hashes mean the same prompts.';
COMMENT ON COLUMN results.distributions.size IS 'Number of prompts.';
COMMENT ON COLUMN results.distributions.recipe IS
  'All that decides the prompts: split, seed, shots, options, separators and so on.';
COMMENT ON COLUMN results.distributions.created_at IS 'When it was first used.';
COMMENT ON COLUMN results.distributions.runs IS 'Number of runs over it, in any state.';
