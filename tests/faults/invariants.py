"""What must hold of the tables whatever fails: one query each, that finds what breaks it.

Each query gives rows of (run, sentence). RELIABILITY says what they mean; `audit` keeps what the
tables themselves forget.
"""

from dataclasses import dataclass
from enum import StrEnum


class Harm(StrEnum):
    """What a broken invariant does to people."""

    LOST = "lost"  # something that was asked for never ends or is not there
    DOUBLED = "doubled"  # something is there more than once
    STALE = "stale"  # somebody wrote who had lost the part, or after the end
    WRONG = "wrong"  # a number is not the one that belongs there
    RULE = "rule"  # the tables contradict each other


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """A sentence that always holds, and the query for what breaks it."""

    name: str
    harm: Harm
    broken_by: str  # SQL


_ENDED = "('succeeded', 'failed', 'cancelled')"

ALWAYS = (
    Invariant(
        name="a part has a lease and a worker exactly while it runs",
        harm=Harm.RULE,
        broken_by="""
SELECT run_id, format('part %s is %s: lease %s, worker %s', number, state,
                      coalesce(lease_expires_at::text, 'none'), coalesce(worker, 'none'))
FROM headbook.part
WHERE (state = 'running') <> (lease_expires_at IS NOT NULL)
   OR (state = 'running') <> (worker IS NOT NULL)""",
    ),
    Invariant(
        name="runs and parts have an end exactly when they have ended",
        harm=Harm.RULE,
        broken_by=f"""
SELECT id, format('the run is %s, finished_at %s', state, coalesce(finished_at::text, 'none'))
FROM headbook.run WHERE (state IN {_ENDED}) <> (finished_at IS NOT NULL)
UNION ALL
SELECT run_id, format('part %s is %s, finished_at %s', number, state,
                      coalesce(finished_at::text, 'none'))
FROM headbook.part WHERE (state IN {_ENDED}) <> (finished_at IS NOT NULL)""",
    ),
    Invariant(
        name="epochs never fall and rise at each claim, release and reap",
        harm=Harm.RULE,
        broken_by="""
SELECT run_id, format('part %s went to %s with epoch %s, after %s with epoch %s', part, event,
                      coalesce(epoch::text, 'none'), before, coalesce(was::text, 'none'))
FROM (
  SELECT run_id, part, event, epoch,
         lag(event, 1, 'queued') OVER history AS before,
         lag(epoch, 1, 0::bigint) OVER history AS was
  FROM headbook.run_event WHERE part IS NOT NULL
  WINDOW history AS (PARTITION BY run_id, part ORDER BY seq)
) AS event
WHERE epoch IS NULL OR epoch < was OR (event IN ('running', 'queued') AND epoch = was)
UNION ALL
SELECT run_id, format('part %s has epoch %s, its last event %s', number, part.epoch, last.epoch)
FROM headbook.part
JOIN (SELECT DISTINCT ON (run_id, part) run_id, part, epoch FROM headbook.run_event
      WHERE part IS NOT NULL ORDER BY run_id, part, seq DESC) AS last USING (run_id)
WHERE last.part = part.number AND last.epoch <> part.epoch""",
    ),
    Invariant(
        name="runs and parts end once",
        harm=Harm.DOUBLED,
        broken_by=f"""
SELECT id, format('the run is %s, its ends: %s', run.state, coalesce(ends.all, 'none'))
FROM headbook.run
LEFT JOIN (SELECT run_id, string_agg(event, ', ' ORDER BY seq) AS all FROM headbook.run_event
           WHERE part IS NULL AND event IN {_ENDED} GROUP BY run_id) AS ends ON ends.run_id = id
WHERE coalesce(ends.all, '') <> CASE WHEN state IN {_ENDED} THEN state ELSE '' END
UNION ALL
SELECT part.run_id, format('part %s is %s, its ends: %s', number, state,
                           coalesce(ends.all, 'none'))
FROM headbook.part
LEFT JOIN (SELECT run_id, part, string_agg(event, ', ' ORDER BY seq) AS all
           FROM headbook.run_event
           WHERE part IS NOT NULL AND event IN {_ENDED} GROUP BY run_id, part) AS ends
  ON ends.run_id = part.run_id AND ends.part = part.number
WHERE coalesce(ends.all, '') <> CASE WHEN state IN {_ENDED} THEN state ELSE '' END""",
    ),
    Invariant(
        name="a run that has ended has no part that has not",
        harm=Harm.RULE,
        broken_by=f"""
SELECT run_id, format('the run is %s, part %s is %s', run.state, number, part.state)
FROM headbook.part JOIN headbook.run ON run.id = run_id
WHERE run.state IN {_ENDED} AND part.state NOT IN {_ENDED}""",
    ),
    Invariant(
        name="a run has succeeded with exactly its parts and one to finish, each of them once",
        harm=Harm.DOUBLED,
        broken_by="""
SELECT id, format('it has succeeded with parts [%s] in place of 0 to %s over %s prompts',
                  coalesce(string_agg(format('%s %s %s:%s %s', number, kind, start, stop,
                                             part.state), ', ' ORDER BY number), 'none'),
                  n_parts, n_prompts)
FROM headbook.run LEFT JOIN headbook.part ON run_id = id
WHERE run.state = 'succeeded'
GROUP BY id
HAVING count(number) <> n_parts + 1
    OR min(number) <> 0 OR max(number) <> n_parts
    OR bool_or(part.state <> 'succeeded' OR (kind = 'finish') <> (number = n_parts))
    OR sum(stop - start) <> n_prompts""",
    ),
    Invariant(
        name="scores and tensors are those of succeeded runs, a value per prompt",
        harm=Harm.WRONG,
        broken_by="""
SELECT run_id, format('%s at x %s has %s values for %s prompts', metric, x, cardinality(values),
                      n_prompts)
FROM headbook.score JOIN headbook.run ON run.id = run_id
WHERE cardinality(values) <> n_prompts
UNION ALL
SELECT run_id, format('the run is %s and has the score %s', state, metric)
FROM headbook.score JOIN headbook.run ON run.id = run_id WHERE state <> 'succeeded'
UNION ALL
SELECT run_id, format('the run is %s and has the tensor %s', state, name)
FROM headbook.tensor JOIN headbook.run ON run.id = run_id WHERE state <> 'succeeded'""",
    ),
    Invariant(
        name="nothing that parts have measured is left over when a run has succeeded",
        harm=Harm.RULE,
        broken_by="""
SELECT run_id, format('%s scores of part %s are left', count(*), part)
FROM headbook.part_score JOIN headbook.run ON run.id = run_id
WHERE state = 'succeeded' GROUP BY run_id, part
UNION ALL
SELECT run_id, format('%s tensors of part %s are left', count(*), part)
FROM headbook.part_tensor JOIN headbook.run ON run.id = run_id
WHERE state = 'succeeded' GROUP BY run_id, part""",
    ),
    Invariant(
        name="what is committed for a part is committed by who holds it, with the part's end",
        harm=Harm.STALE,
        broken_by="""
SELECT written.run_id, format('%s of part %s: transaction %s of %L wrote at epoch %s, which %s',
         relation, written.part, written.txid, written.writer, coalesce(epoch::text, 'none'),
         CASE WHEN ended.turn IS NULL THEN 'it did not end'
              ELSE format('%L had claimed', claimed.writer) END)
FROM faults.written
LEFT JOIN faults.move AS ended
  ON ended.run_id = written.run_id AND ended.part = written.part AND ended.txid = written.txid
 AND ended.old_state = 'running' AND ended.new_state = 'succeeded' AND ended.new_epoch = epoch
LEFT JOIN faults.move AS claimed
  ON claimed.run_id = written.run_id AND claimed.part = written.part
 AND claimed.new_state = 'running' AND claimed.new_epoch = epoch
WHERE (ended.turn IS NULL AND relation <> 'part_tensor_chunk')
 OR claimed.writer IS DISTINCT FROM written.writer""",
    ),
    Invariant(
        name="what a part has measured is committed once",
        harm=Harm.DOUBLED,
        broken_by="""
SELECT run_id, format('%s of part %s was written %s times', relation, part, count(*))
FROM faults.written WHERE relation <> 'part_tensor_chunk'
GROUP BY run_id, relation, part HAVING count(*) > 1""",
    ),
    Invariant(
        name="nothing happens to a run after its end",
        harm=Harm.STALE,
        broken_by=f"""
WITH ended AS (SELECT run_id, txid, turn, new_state FROM faults.move
               WHERE part IS NULL AND new_state IN {_ENDED})
SELECT run_id, format('%s of part %s was written after the run had %s', relation, part, new_state)
FROM faults.written JOIN ended USING (run_id)
WHERE written.turn > ended.turn AND written.txid <> ended.txid
UNION ALL
SELECT run_id, format('part %s went to %s after the run had %s', coalesce(part::text, 'none'),
                      move.new_state, ended.new_state)
FROM faults.move JOIN ended USING (run_id)
WHERE move.turn > ended.turn AND move.txid <> ended.txid""",
    ),
    Invariant(
        name="a click makes one run, and so does a fingerprint",
        harm=Harm.DOUBLED,
        broken_by="""
SELECT (array_agg(id ORDER BY created_at))[1],
       format('the click %s has made %s runs', nonce, count(*))
FROM headbook.run WHERE nonce IS NOT NULL GROUP BY nonce HAVING count(*) > 1
UNION ALL
SELECT (array_agg(id ORDER BY created_at))[1],
       format('the fingerprint %s stands for %s runs', fingerprint, count(*))
FROM headbook.run WHERE rerun_of IS NULL AND state NOT IN ('failed', 'cancelled')
GROUP BY fingerprint HAVING count(*) > 1""",
    ),
    Invariant(
        name="only runs that have ended are published",
        harm=Harm.RULE,
        broken_by=f"""
SELECT run_id, format('the run is %s and published', run.state)
FROM headbook.publication JOIN headbook.run ON run.id = run_id
WHERE publication.state = 'published' AND run.state NOT IN {_ENDED}""",
    ),
)

AT_REST = (
    Invariant(
        name="every run ends",
        harm=Harm.LOST,
        broken_by=f"""
SELECT id, format('it is still %s, its parts: %s; %s', run.state,
                  coalesce(string_agg(format('%s %s', number, part.state), ', '
                                      ORDER BY number), 'none'), coalesce(reason, 'no reason'))
FROM headbook.run LEFT JOIN headbook.part ON run_id = id
WHERE run.state NOT IN {_ENDED} GROUP BY id""",
    ),
)

PUBLISHED = (
    Invariant(
        name="every run that has ended is published",
        harm=Harm.LOST,
        broken_by=f"""
SELECT id, format('the run is %s, its publication %s: %s', run.state,
                  coalesce(publication.state, 'missing'),
                  coalesce(publication.error, 'no error'))
FROM headbook.run LEFT JOIN headbook.publication ON run_id = id
WHERE run.state IN {_ENDED} AND publication.state IS DISTINCT FROM 'published'""",
    ),
)
