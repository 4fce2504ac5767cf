CREATE OR REPLACE VIEW results.model_renamings AS
SELECT at, renamed_by, old_name, new_name FROM headbook.model_renaming;

COMMENT ON VIEW results.model_renamings IS
  'Names of models that became others, and when.';
COMMENT ON COLUMN results.model_renamings.at IS 'When, by the clock of this database.';
COMMENT ON COLUMN results.model_renamings.renamed_by IS 'Who renamed them.';
COMMENT ON COLUMN results.model_renamings.old_name IS 'What they were called.';
COMMENT ON COLUMN results.model_renamings.new_name IS
  'What they are called from then on, in runs of before as well.';
