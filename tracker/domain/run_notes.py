"""What is noted of a run: how its numbers are to be read, and what to be warned of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analyses import stored
from analyses.quantities import Quantity
from analyses.stored import Stored


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """Notes of a run, as its analysis was when it ran; before it has ended, warnings alone.

    `scores` describe what is stored, without their meanings, which only a page tells.
    """

    conventions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    headline: Quantity | None = None
    scores: tuple[Stored, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What the database holds of them."""
        return {
            "conventions": dict(self.conventions),
            "warnings": list(self.warnings),
            "headline": self.headline and self.headline.as_json(),
            "scores": stored.as_json(self.scores),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any] | None) -> "RunNotes":
        """Notes as the database holds them; None where there are none."""
        kept = kept or {}
        headline = kept.get("headline")
        return cls(
            conventions=kept.get("conventions") or {},
            warnings=tuple(kept.get("warnings") or ()),
            headline=Quantity(**headline) if headline else None,
            scores=stored.from_json(kept.get("scores") or ()),
        )
