"""The legal transitions between the states of a run, and their diagram.

The trigger `headbook.guard_run` enforces them; docs/architecture.md shows the diagram.
"""

from collections.abc import Mapping

from tracker.domain import TERMINAL, RunState

# (from, to) and the cause of the transition.
MOVES: Mapping[tuple[RunState, RunState], str] = {
    (RunState.QUEUED, RunState.RUNNING): "a worker claims a part",
    (RunState.QUEUED, RunState.FAILED): "it cannot be run",
    (RunState.QUEUED, RunState.CANCELLED): "cancelled, or a run that it needs ended badly",
    (RunState.RUNNING, RunState.QUEUED): "no part is claimed any more",
    (RunState.RUNNING, RunState.FINISHING): "the last part is measured",
    (RunState.RUNNING, RunState.FAILED): "a permanent error, or no attempts left",
    (RunState.RUNNING, RunState.CANCELLED): "cancelled",
    (RunState.FINISHING, RunState.SUCCEEDED): "scores and tensors are stored",
    (RunState.FINISHING, RunState.FAILED): "a permanent error, or no attempts left",
    (RunState.FINISHING, RunState.CANCELLED): "cancelled",
}


def diagram() -> str:
    """The transitions as a Mermaid state diagram."""
    moves = [f"{origin.value} --> {to.value}: {why}" for (origin, to), why in MOVES.items()]
    ends = [f"{state.value} --> [*]" for state in RunState if state in TERMINAL]
    lines = [f"[*] --> {RunState.QUEUED.value}: submitted", *moves, *ends]
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in lines)]) + "\n"
