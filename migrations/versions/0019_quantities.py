"""Store what was varied as values, in scores and in the notes of runs.

Scores keep the text `condition`, which is parsed once into the new column, including texts from
older versions and other packages (`q/placebo`, `mutation=shuffled/confined`). In the notes of
runs, the values replace the text.

A worker of an older version may still be running. It does not know the column: its scores are
refused as by a schema without it, so its part goes back to the queue and no run fails.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from analyses.quantities import Varied, spelled

revision = "0019"
down_revision = "0018"

TABLES = ("score", "part_score")
CHECK = (
    "CASE WHEN varied - 'of' - 'variant' = '{}' THEN condition ="
    " coalesce(varied ->> 'of', '') || coalesce('/' || (varied ->> 'variant'), '')"
    " ELSE position('=' in condition) > 0 END"
)
NO_VALUES = """
CREATE FUNCTION headbook.no_values() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a score needs values in column "varied": it is of an older version'
    USING ERRCODE = 'undefined_column';
END $$
"""
CONDITIONS = "SELECT DISTINCT condition FROM headbook.{table} WHERE condition <> ''"
READ = """
UPDATE headbook.{table} AS it SET varied = pair -> 'new'
FROM jsonb_array_elements(CAST(:pairs AS jsonb)) AS pair WHERE it.condition = pair ->> 'old'
"""
NOTED = "SELECT DISTINCT notes -> '{name}' FROM headbook.run WHERE notes -> '{name}' IS NOT NULL"
NOTE = """
UPDATE headbook.run SET notes = jsonb_set(notes, '{{{name}}}', pair -> 'new')
FROM jsonb_array_elements(CAST(:pairs AS jsonb)) AS pair WHERE notes -> '{name}' = pair -> 'old'
"""


def upgrade() -> None:
    op.execute(NO_VALUES)
    op.execute("REVOKE EXECUTE ON FUNCTION headbook.no_values() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION headbook.no_values() TO headbook_worker")
    for table in TABLES:
        op.add_column(
            table,
            sa.Column(
                "varied",
                JSONB(),
                server_default="{}",
                nullable=False,
                comment="What condition says: values by name.",
            ),
            schema="headbook",
        )
        _replace(CONDITIONS.format(table=table), READ.format(table=table), _read)
        op.alter_column(
            table, "varied", server_default=sa.text("headbook.no_values()"), schema="headbook"
        )
        op.create_check_constraint(
            op.f(f"{table}_varied_check"), table, sa.text(CHECK), schema="headbook"
        )
    _rewrite_notes(headline=_quantity, scores=_with_values)


def downgrade() -> None:
    _rewrite_notes(headline=_metric_and_condition, scores=_with_conditions)
    for table in TABLES:
        op.drop_constraint(op.f(f"{table}_varied_check"), table, schema="headbook")
        op.drop_column(table, "varied", schema="headbook")
    op.execute("DROP FUNCTION headbook.no_values()")


def _rewrite_notes(**changes: Callable[[Any], Any]) -> None:
    """Rewrite fields of all notes, with the trigger off that protects runs that have ended."""
    op.execute("ALTER TABLE headbook.run DISABLE TRIGGER guard_run")
    for name, change in changes.items():
        _replace(NOTED.format(name=name), NOTE.format(name=name), change)
    op.execute("ALTER TABLE headbook.run ENABLE TRIGGER guard_run")


def _replace(query: str, update: str, change: Callable[[Any], Any]) -> None:
    """Replace each distinct value that the query finds; distinct values are few, rows many."""
    connection = op.get_bind()
    pairs = [{"old": old, "new": change(old)} for old in connection.scalars(sa.text(query))]
    connection.execute(sa.text(update), {"pairs": json.dumps(pairs)})


def _read(condition: str) -> dict[str, Any]:
    """The values of a condition; a label stays text even if it is a digit."""
    varied = Varied.read(condition)
    return {name: spelled(each) if name == "label" else each for name, each in varied.items()}


def _quantity(headline: list[str]) -> dict[str, Any] | None:
    metric, condition = headline
    return {"metric": metric, "site": "", "varied": _read(condition)} if metric else None


def _metric_and_condition(headline: Mapping[str, Any] | None) -> list[str]:
    return [headline["metric"], Varied(headline["varied"]).text] if headline else ["", ""]


def _with_values(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_renamed(each, "conditions", "varied", _read) for each in scores]


def _with_conditions(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_renamed(each, "varied", "conditions", lambda it: Varied(it).text) for each in scores]


def _renamed(
    said: Mapping[str, Any], old: str, new: str, change: Callable[[Any], Any]
) -> dict[str, Any]:
    rest = {name: each for name, each in said.items() if name != old}
    return {**rest, new: list(map(change, said[old]))}
