CREATE OR REPLACE VIEW results.run_logs AS
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
