"""A record of who wrote what for which part, kept by triggers that only tests install.

Rows of `part_score`, `part_tensor` and its chunks are gone when a run has ended, and no row says by
whom it was written. So every move of a run or part is noted, and at each commit for which part it
wrote, with the part's epoch as it is at that moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from tracker.database.db import Sessions, transaction

_TABLES = """
CREATE SCHEMA faults;
CREATE SEQUENCE faults.turn;
CREATE TABLE faults.move (  -- a change of a run's state, or of a part's state or epoch
  turn bigint PRIMARY KEY DEFAULT nextval('faults.turn'),
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  writer text NOT NULL DEFAULT current_setting('application_name'),
  run_id uuid NOT NULL, part integer, worker text,
  old_state text, new_state text NOT NULL, old_epoch bigint, new_epoch bigint);
CREATE INDEX ON faults.move (run_id, part);
CREATE TABLE faults.written (  -- a transaction that wrote for a part, as it commits
  turn bigint PRIMARY KEY DEFAULT nextval('faults.turn'),
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  writer text NOT NULL DEFAULT current_setting('application_name'),
  relation text NOT NULL, run_id uuid NOT NULL, part integer NOT NULL, epoch bigint,
  UNIQUE (txid, relation, run_id, part));
CREATE INDEX ON faults.written (run_id, part);
"""

_NOTE_RUN = """
CREATE FUNCTION faults.note_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO faults.move (run_id, new_state) VALUES (NEW.id, NEW.state);
  ELSIF NEW.state <> OLD.state THEN
    INSERT INTO faults.move (run_id, old_state, new_state) VALUES (NEW.id, OLD.state, NEW.state);
  END IF;
  RETURN NULL;
END $$
"""

_NOTE_PART = """
CREATE FUNCTION faults.note_part() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF (NEW.state, NEW.epoch) IS DISTINCT FROM (OLD.state, OLD.epoch) THEN
    INSERT INTO faults.move (run_id, part, worker, old_state, new_state, old_epoch, new_epoch)
    VALUES (NEW.run_id, NEW.number, coalesce(NEW.worker, OLD.worker),
            OLD.state, NEW.state, OLD.epoch, NEW.epoch);
  END IF;
  RETURN NULL;
END $$
"""

# A run's own scores and tensors are written for its finishing part, the one after the others.
_NOTE_WRITTEN = """
CREATE FUNCTION faults.note_written() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE number integer;
BEGIN
  IF TG_ARGV[0] = 'of a part' THEN
    number := NEW.part;
  ELSE
    SELECT n_parts INTO number FROM headbook.run WHERE id = NEW.run_id;
  END IF;
  INSERT INTO faults.written (relation, run_id, part, epoch)
  SELECT TG_TABLE_NAME, NEW.run_id, number,
         (SELECT epoch FROM headbook.part AS p WHERE p.run_id = NEW.run_id AND p.number = number_)
  FROM (SELECT number AS number_) AS of_part
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$
"""

_TRIGGERS = (
    "CREATE TRIGGER faults_note_run AFTER INSERT OR UPDATE ON headbook.run"
    " FOR EACH ROW EXECUTE FUNCTION faults.note_run()",
    "CREATE TRIGGER faults_note_part AFTER INSERT OR UPDATE ON headbook.part"
    " FOR EACH ROW EXECUTE FUNCTION faults.note_part()",
    *(
        f"CREATE CONSTRAINT TRIGGER faults_note_written AFTER INSERT ON headbook.{table}"
        " DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION faults.note_written('{of}')"
        for table, of in {
            "part_score": "of a part",
            "part_tensor": "of a part",
            "part_tensor_chunk": "of a part",
            "score": "of the run",
            "tensor": "of the run",
        }.items()
    ),
)


class NotAudited(Exception):
    def __init__(self) -> None:
        super().__init__(
            "Nobody has noted who wrote what in this database, so stale writes cannot be seen. "
            "Call audit.install(sessions) before the first run is queued."
        )


def install(sessions: Sessions) -> None:
    """Note from now on who writes what, whatever the role; what was noted before is forgotten."""
    remove(sessions)
    with transaction(sessions) as session:
        for statement in (*_TABLES.split(";"), _NOTE_RUN, _NOTE_PART, _NOTE_WRITTEN, *_TRIGGERS):
            if statement.strip():
                session.execute(text(statement))


def remove(sessions: Sessions) -> None:
    """Take the record and its triggers away."""
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL client_min_messages = warning"))
        session.execute(text("DROP SCHEMA IF EXISTS faults CASCADE"))


@contextmanager
def audited(sessions: Sessions) -> Iterator[None]:
    """Inside the block it is noted who writes what."""
    install(sessions)
    try:
        yield
    finally:
        remove(sessions)
