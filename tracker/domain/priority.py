"""The priority of a run."""

from enum import StrEnum


class Priority(StrEnum):
    """How soon a run should start."""

    NOW = "now"  # before everything else
    NORMAL = "normal"
    LATER = "later"  # when nothing else waits

    @property
    def rank(self) -> int:
        """The number by which the queue is sorted; lower numbers start first."""
        return {"now": 0, "normal": 3, "later": 9}[self.value]
