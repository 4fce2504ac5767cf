CREATE OR REPLACE VIEW results.run_events AS
SELECT run_id, seq, at, part, event, epoch, worker, reason FROM headbook.run_event;

COMMENT ON VIEW results.run_events IS 'What happened to each run and to its parts.';
COMMENT ON COLUMN results.run_events.run_id IS 'The run; joins results.runs.';
COMMENT ON COLUMN results.run_events.seq IS 'Order of events.';
COMMENT ON COLUMN results.run_events.at IS 'When, by the clock of this database.';
COMMENT ON COLUMN results.run_events.part IS 'The part it happened to; NULL: the run itself.';
COMMENT ON COLUMN results.run_events.event IS 'The state that was entered.';
COMMENT ON COLUMN results.run_events.epoch IS
  'Epoch of the part after it; rises when a part is claimed, released or taken back.';
COMMENT ON COLUMN results.run_events.worker IS 'The worker that holds or held the part.';
COMMENT ON COLUMN results.run_events.reason IS 'Why, in words.';
