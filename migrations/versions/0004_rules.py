"""Rules of the queue, kept by the database: legal moves, rising epochs, ends that stay, events."""

from alembic import op

revision = "0004"
down_revision = "0003"

GUARD_RUN = """
CREATE FUNCTION headbook.guard_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled') THEN
    RAISE EXCEPTION 'run % has ended (%) and stays as it is', OLD.id, OLD.state
      USING ERRCODE = 'HB001', CONSTRAINT = 'run_ended';
  END IF;
  IF NEW.state <> OLD.state AND NOT (
       (OLD.state = 'queued' AND NEW.state IN ('running', 'failed', 'cancelled'))
    OR (OLD.state = 'running' AND NEW.state IN ('queued', 'finishing', 'failed', 'cancelled'))
    OR (OLD.state = 'finishing' AND NEW.state IN ('succeeded', 'failed', 'cancelled')))
  THEN
    RAISE EXCEPTION 'run % may not move from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'HB002', CONSTRAINT = 'run_move';
  END IF;
  RETURN NEW;
END $$
"""

GUARD_PART = """
CREATE FUNCTION headbook.guard_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled') THEN
    RAISE EXCEPTION 'part % of run % has ended (%) and stays as it is',
      OLD.number, OLD.run_id, OLD.state USING ERRCODE = 'HB001', CONSTRAINT = 'part_ended';
  END IF;
  IF NEW.epoch < OLD.epoch OR (NEW.epoch = OLD.epoch AND (
       (OLD.state = 'queued' AND NEW.state = 'running')
    OR (OLD.state = 'running' AND NEW.state = 'queued')))
  THEN
    RAISE EXCEPTION 'part % of run %: the epoch must rise from % when it goes from % to %',
      OLD.number, OLD.run_id, OLD.epoch, OLD.state, NEW.state
      USING ERRCODE = 'HB003', CONSTRAINT = 'part_epoch';
  END IF;
  RETURN NEW;
END $$
"""

NOTE_RUN = """
CREATE FUNCTION headbook.note_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' OR NEW.state <> OLD.state
    OR (NEW.reason IS NOT NULL AND NEW.reason IS DISTINCT FROM OLD.reason)
  THEN
    INSERT INTO headbook.run_event (run_id, event, reason) VALUES (NEW.id, NEW.state, NEW.reason);
  END IF;
  RETURN NULL;
END $$
"""

NOTE_PART = """
CREATE FUNCTION headbook.note_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state <> OLD.state THEN
    INSERT INTO headbook.run_event (run_id, part, event, epoch, worker)
    VALUES (NEW.run_id, NEW.number, NEW.state, NEW.epoch, coalesce(NEW.worker, OLD.worker));
  END IF;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    for statement in (
        GUARD_RUN,
        GUARD_PART,
        NOTE_RUN,
        NOTE_PART,
        "CREATE TRIGGER guard_run BEFORE UPDATE ON headbook.run"
        " FOR EACH ROW EXECUTE FUNCTION headbook.guard_run()",
        "CREATE TRIGGER guard_part BEFORE UPDATE ON headbook.part"
        " FOR EACH ROW EXECUTE FUNCTION headbook.guard_part()",
        "CREATE TRIGGER note_run AFTER INSERT OR UPDATE ON headbook.run"
        " FOR EACH ROW EXECUTE FUNCTION headbook.note_run()",
        "CREATE TRIGGER note_part AFTER UPDATE ON headbook.part"
        " FOR EACH ROW EXECUTE FUNCTION headbook.note_part()",
    ):
        op.execute(statement)


def downgrade() -> None:
    for table, functions in (
        ("run", ("note_run", "guard_run")),
        ("part", ("note_part", "guard_part")),
    ):
        for function in functions:
            op.execute(f"DROP TRIGGER {function} ON headbook.{table}")
            op.execute(f"DROP FUNCTION headbook.{function}()")
