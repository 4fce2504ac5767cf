"""The fingerprint of a run: one hash over everything its numbers depend on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from analyses.registry import ENGINE_VERSION, Analysis
from tracker.domain import Model


def run_fingerprint(
    analysis: Analysis,
    params: Mapping[str, Any],
    model: Model,
    *,
    distribution_hash: str,
    seed: int,
    needs: Sequence[str] = (),
) -> str:
    """sha256; `needs` are the fingerprints of runs whose results this one reads."""
    parts = {
        "analysis": analysis.name,
        "analysis_version": analysis.version,
        "engine_version": ENGINE_VERSION,
        "params": dict(params),
        "model": model.fingerprint,
        "dtype": model.dtype,
        "distribution": distribution_hash,
        "seed": seed,
        "needs": sorted(needs),
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
