"""Notes of a run: conventions for reading its scores, their descriptions, and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analyses import stored
from analyses.quantities import Quantity
from analyses.stored import ScoreDescription


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """Notes that the analysis left when the run ended; before that, only warnings.

    `scores` describe the stored metrics without their meanings, which are in the documentation.
    """

    conventions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    headline: Quantity | None = None
    scores: tuple[ScoreDescription, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The notes in their stored form."""
        return {
            "conventions": dict(self.conventions),
            "warnings": list(self.warnings),
            "headline": self.headline and self.headline.as_json(),
            "scores": stored.as_json(self.scores),
        }

    @classmethod
    def from_json(cls, notes: Mapping[str, Any] | None) -> "RunNotes":
        """Notes from their stored form; None means no notes."""
        notes = notes or {}
        headline = notes.get("headline")
        return cls(
            conventions=notes.get("conventions") or {},
            warnings=tuple(notes.get("warnings") or ()),
            headline=Quantity(**headline) if headline else None,
            scores=stored.from_json(notes.get("scores") or ()),
        )
