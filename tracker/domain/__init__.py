"""The tracker's domain, as immutable values: requests, models, runs, parts and their states."""

from tracker.domain.grid import Grid
from tracker.domain.model import Model
from tracker.domain.parts import PartClaim, PartKind, ProofClaim
from tracker.domain.priority import Priority
from tracker.domain.request import InvalidRequest, RunRequest
from tracker.domain.roles import Role
from tracker.domain.run import Run
from tracker.domain.run_log import LogLevel, SaidLine
from tracker.domain.states import (
    ACTIVE,
    TERMINAL,
    PartState,
    ProofState,
    PublicationState,
    RunState,
)

__all__ = [
    "ACTIVE",
    "TERMINAL",
    "Grid",
    "InvalidRequest",
    "LogLevel",
    "Model",
    "PartClaim",
    "PartKind",
    "PartState",
    "Priority",
    "ProofClaim",
    "ProofState",
    "PublicationState",
    "Role",
    "Run",
    "RunRequest",
    "RunState",
    "SaidLine",
]
