"""What processes hold: memory, open files, connections to Postgres, keys in Valkey."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import NamedTuple

import numpy as np
import psutil
from sqlalchemy import text

from tracker.database.db import transaction

from .actor import Actor
from .world import World

_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Of a process; `connections` are its family's to Postgres, `keys` all those in the broker."""

    rss_mb: float
    fds: float
    connections: float
    keys: float


NAMES = tuple(each.name for each in fields(Footprint))


class Sample(NamedTuple):
    """What a process held after so many runs."""

    runs: int
    held: Footprint


def of(world: World, actor: Actor, process: psutil.Process) -> Footprint:
    with transaction(world.sessions) as session:
        connections = session.scalars(text(_CONNECTIONS), {"name": actor.log.stem}).one()
    with world.valkey.client() as client:
        keys = int(client.dbsize())
    return Footprint(
        rss_mb=process.memory_info().rss / 1e6,
        fds=process.num_fds(),
        connections=connections,
        keys=keys,
    )


def warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without the first quarter: caches fill, modules are imported, the model is loaded."""
    return samples[len(samples) // 4 :]


def slopes(samples: Sequence[Sample]) -> Footprint:
    """By how much each number grows per run: the least-squares line through what was seen."""
    if len(samples) < 2:
        return Footprint(rss_mb=0, fds=0, connections=0, keys=0)
    values = np.array([astuple(each.held) for each in samples], float)
    lines = np.polyfit([each.runs for each in samples], values, 1)
    return Footprint(**dict(zip(NAMES, map(float, lines[0]), strict=True)))


def rises(samples: Sequence[Sample]) -> Footprint:
    """By how much each number has grown along that line, from the first sample to the last."""
    span = samples[-1].runs - samples[0].runs
    return Footprint(**{name: span * each for name, each in asdict(slopes(samples)).items()})
