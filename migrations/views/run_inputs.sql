CREATE OR REPLACE VIEW results.run_inputs AS
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
