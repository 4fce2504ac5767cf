"""The engine for your own analyses. It loads torch: import it inside the analysis function."""

from analyses.engine.batches import Batch
from analyses.engine.decomposition import attention_writes, components
from analyses.engine.interventions import Constant, FromSource, Intervention, Patch, Path, Site
from analyses.engine.patterns import divergence, entropy
from analyses.engine.recording import Keep, Recorded
from analyses.engine.replay import Replayed

__all__ = [
    "Batch",
    "Constant",
    "FromSource",
    "Intervention",
    "Keep",
    "Patch",
    "Path",
    "Recorded",
    "Replayed",
    "Site",
    "attention_writes",
    "components",
    "divergence",
    "entropy",
]
