"""What interventions are replayed on: the model's parts and what was recorded."""

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

Tokens = Float[Tensor, "batch variant suffix d_model"]


@dataclass(frozen=True, kw_only=True)
class Ground:
    anatomy: Anatomy
    recorded: Recorded
    source: Recorded | None
    rotary: Mapping[int, Rotary]  # of the layers where patches are made before it
    source_rotary: Mapping[int, Rotary]

    @classmethod
    def of(
        cls,
        anatomy: Anatomy,
        recorded: Recorded,
        source: Recorded | None,
        patches: Sequence[Patch],
    ) -> "Ground":
        """With the rotary embeddings that the patches need, found and proved."""
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
        """Which keys of the layer a suffix sees."""
        reads = self.reads(layer)
        return suffix.visible(reads.arguments.get(MASK), reads.key.shape[2])

    def through(
        self,
        layer: int,
        tokens: Tokens,
        suffix: Suffix,
        attend: AttentionFunction,
        own_keys: Mapping[int, Own],
    ) -> Tokens:
        """What leaves the layer when these enter it and `attend` computes attention.

        `own_keys` are the first variants' own keys and values in layers below.
        """
        of_layer, variants = self.anatomy.layers[layer], tokens.shape[1]
        arguments = suffix.arguments(self.reads(layer).arguments, variants)
        shared = shared_keys.arguments(of_layer.shared, self.recorded, suffix, variants, own_keys)
        with replacing_attention(attend):
            output = of_layer.layer(tokens.flatten(1, 2), **arguments, **shared)
        after = first_tensor(output)
        assert after is not None
        return after.view(tokens.shape)


def _rotaries(anatomy: Anatomy, patches: Sequence[Patch], recorded: Recorded) -> dict[int, Rotary]:
    layers = {patch.layer for patch in patches if patch.before_rotary and patch.site is not Site.V}
    if not recorded.reads:
        return {}
    return {layer: find_rotary(anatomy.layers[layer], recorded, layer) for layer in layers}
