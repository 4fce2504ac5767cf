"""The priority of a run."""

from enum import StrEnum


class Priority(StrEnum):
    """How soon a run should start, in words."""

    NOW = "now"  # before everything else
    NORMAL = "normal"
    LATER = "later"  # when nothing else waits

    @property
    def rank(self) -> int:
        """The number the queue sorts by; lower goes first."""
        return {"now": 0, "normal": 3, "later": 9}[self.value]
