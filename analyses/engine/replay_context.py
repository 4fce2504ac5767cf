"""What a replay works with: the anatomy of the model, recordings, and rotary embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from analyses.engine import shared_keys
from analyses.engine.anatomy import Anatomy
from analyses.engine.attention import AttentionFunction, replacing_attention
from analyses.engine.edits import LayerEdits, Placed
from analyses.engine.interventions import Patch, Site
from analyses.engine.outputs import first_tensor
from analyses.engine.recording import LayerReads, Recorded
from analyses.engine.rotary import Rotary, find_rotary
from analyses.engine.shared_keys import Own
from analyses.engine.suffixes import MASK, Suffix, Visible

Tokens = Float[Tensor, "batch branch suffix d_model"]


@dataclass(frozen=True, kw_only=True)
class ReplayContext:
    anatomy: Anatomy
    recorded: Recorded
    source: Recorded | None
    rotary: Mapping[int, Rotary]  # by layer, where patches are made before rotary embedding
    source_rotary: Mapping[int, Rotary]

    @classmethod
    def of(
        cls,
        anatomy: Anatomy,
        recorded: Recorded,
        source: Recorded | None,
        patches: Sequence[Patch],
    ) -> "ReplayContext":
        """With the rotary embeddings that the patches need, detected and verified."""
        return cls(
            anatomy=anatomy,
            recorded=recorded,
            source=source,
            rotary=_rotaries(anatomy, patches, recorded),
            source_rotary={} if source is None else _rotaries(anatomy, patches, source),
        )

    def reads(self, layer: int) -> LayerReads:
        return self.recorded.reads[layer]

    def edits(self, layer: int, placed: Sequence[Placed], suffix: Suffix) -> LayerEdits:
        return LayerEdits(
            layer=layer,
            placed=placed,
            suffix=suffix,
            recorded=self.recorded,
            source=self.source,
            rotary=self.rotary.get(layer),
            source_rotary=self.source_rotary.get(layer),
        )

    def visible(self, layer: int, suffix: Suffix) -> Visible:
        """Which keys of the layer a suffix attends to."""
        reads = self.reads(layer)
        return suffix.visible(reads.arguments.get(MASK), reads.key.shape[2])

    def run_layer(
        self,
        layer: int,
        tokens: Tokens,
        suffix: Suffix,
        attend: AttentionFunction,
        own_keys: Mapping[int, Own],
    ) -> Tokens:
        """The layer's output for these tokens, with `attend` in place of attention.

        `own_keys` are the first branches' own keys and values in layers below.
        """
        anatomy, branches = self.anatomy.layers[layer], tokens.shape[1]
        arguments = suffix.arguments(self.reads(layer).arguments, branches)
        shared = shared_keys.arguments(anatomy.shared, self.recorded, suffix, branches, own_keys)
        with replacing_attention(attend):
            output = anatomy.layer(tokens.flatten(1, 2), **arguments, **shared)
        resid = first_tensor(output)
        assert resid is not None
        return resid.view(tokens.shape)


def _rotaries(anatomy: Anatomy, patches: Sequence[Patch], recorded: Recorded) -> dict[int, Rotary]:
    layers = {patch.layer for patch in patches if patch.before_rotary and patch.site is not Site.V}
    if not recorded.reads:
        return {}
    return {layer: find_rotary(anatomy.layers[layer], recorded, layer) for layer in layers}
