"""Mean activations over prompts: the values of a mean ablation."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from analyses.engine.interventions import Constant, ImpossiblePatch, Patch, Site
from analyses.engine.recording import Recorded, RecordedLayer

SITES = tuple(Site(name) for name in RecordedLayer.__dataclass_fields__ if name in set(Site))


@dataclass(frozen=True, eq=False)
class Means:
    """Means at the final positions, [layer …], over all prompts that were recorded."""

    prompts: int
    values: dict[Site, Float[Tensor, "layer *head d"]]  # in fp32, summed in fp64

    @classmethod
    def of(cls, recordings: Iterable[Recorded]) -> "Means":
        """The means over all recordings, of which one at a time is in memory.

        Another batching of the prompts changes only the last bits.
        """
        sums: dict[Site, Tensor] = {}
        prompts = 0
        for recorded in recordings:
            prompts += len(recorded.numbers)
            for site in SITES:
                stacked = torch.stack([getattr(layer, site.value) for layer in recorded.layers])
                total = stacked.double().sum(1)  # over prompts, the second axis
                sums[site] = sums[site] + total if site in sums else total
        return cls(prompts, {site: (total / prompts).float() for site, total in sums.items()})

    def patch(self, site: Site, layer: int, head: int | None = None) -> Patch:
        """The site replaced by its mean."""
        if site not in self.values:
            raise ImpossiblePatch(
                f"{site} of layer {layer}",
                "means exist only of what components write",
                f"Take one of {', '.join(SITES)}",
            )
        mean = self.values[site][layer]
        return Patch(
            site=site, layer=layer, head=head, value=Constant(mean if head is None else mean[head])
        )
