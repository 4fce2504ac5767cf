CREATE OR REPLACE VIEW results.study_runs AS
SELECT study.id AS study_id, study.name AS study, study.created_at AS study_created_at,
       study_run.run_id
FROM headbook.study
JOIN headbook.study_run ON study_run.study_id = study.id;

COMMENT ON VIEW results.study_runs IS
  'Which runs belong to which study, a group of runs that people look at together.';
COMMENT ON COLUMN results.study_runs.study_id IS 'Id of the study.';
COMMENT ON COLUMN results.study_runs.study IS 'Name of the study.';
COMMENT ON COLUMN results.study_runs.study_created_at IS 'When its first run was queued.';
COMMENT ON COLUMN results.study_runs.run_id IS 'A run of the study; joins results.runs.';
