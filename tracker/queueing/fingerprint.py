"""The fingerprint of a run: one hash over everything that its scores depend on."""

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
    """SHA-256 in hex. `needs` are the fingerprints of the runs whose results this run reads."""
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
