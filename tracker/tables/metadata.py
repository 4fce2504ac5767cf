"""What all tables share: schema, names of constraints, column types, CHECKs of states."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import CheckConstraint, DateTime, Identity, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

BY_CODE = "C"  # the collation in which every database puts names into the same order
NOW = text("clock_timestamp()")  # Postgres' clock is the only one that is compared

NO_VALUES = text("headbook.no_values()")  # what a worker without them stores is refused

Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Id = Annotated[int, mapped_column(Identity(always=True), primary_key=True)]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]


class Row(DeclarativeBase):
    metadata = MetaData(
        schema="headbook",
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        },
    )
    type_annotation_map = {str: Text()}  # noqa: RUF012 - SQLAlchemy reads a plain dict here


# What analyses/names.py refuses in every name and line: control characters, line breaks, what has
# no glyph or turns the reading order.
_UNSEEN = (
    r"[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e0fff]"
)


def is_name(column: str, *, most: int) -> str:
    """The condition of a name of at most so many characters, whoever writes it."""
    return f"char_length({column}) BETWEEN 1 AND {most} AND {column} !~ '{_UNSEEN}'"


def one_of(column: str, *enums: type[StrEnum]) -> CheckConstraint:
    """Text with a CHECK: a native enum does not survive a downgrade followed by an upgrade."""
    values = ", ".join(f"'{member.value}'" for members in enums for member in members)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def condition_of_varied() -> CheckConstraint:
    """A CHECK that `condition` is the text of `varied`, as far as an expression can tell."""
    return CheckConstraint(
        "CASE WHEN varied - 'of' - 'variant' = '{}' THEN condition ="
        " coalesce(varied ->> 'of', '') || coalesce('/' || (varied ->> 'variant'), '')"
        " ELSE position('=' in condition) > 0 END",
        name="varied",
    )
