"""The sizes of a language model and of each of its layers, as they were when it ran."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """One layer's attention. Queries are as wide as keys, and z is as wide as values.

    `before_rotary` says whether queries and keys can be read before rotary embedding.
    """

    n_heads: int
    n_kv_heads: int
    d_qk: int
    d_v: int
    before_rotary: bool = True

    def width(self, site: str) -> int:
        """The width of one head's q, k, v or z."""
        return {"q": self.d_qk, "k": self.d_qk, "v": self.d_v, "z": self.d_v}[site]

    def kv_head(self, head: int) -> int:
        """The key-value head that a head reads."""
        return head * self.n_kv_heads // self.n_heads

    def readers(self, kv_head: int) -> range:
        """The heads that read a key-value head."""
        group = self.n_heads // self.n_kv_heads
        return range(kv_head * group, (kv_head + 1) * group)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    family: str  # the config's model_type
    d_model: int
    d_vocab: int
    layers: tuple[LayerShape, ...]

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def n_heads(self) -> int:
        """The most heads in any layer."""
        return most(self.layers).n_heads

    @property
    def n_kv_heads(self) -> int:
        return most(self.layers).n_kv_heads

    @property
    def d_head(self) -> int:
        """The width of the widest queries and keys."""
        return most(self.layers).d_qk


def most(layers: Sequence[LayerShape]) -> LayerShape:
    """The maximum of each size over the layers."""
    return LayerShape(
        n_heads=max(layer.n_heads for layer in layers),
        n_kv_heads=max(layer.n_kv_heads for layer in layers),
        d_qk=max(layer.d_qk for layer in layers),
        d_v=max(layer.d_v for layer in layers),
        before_rotary=all(layer.before_rotary for layer in layers),
    )
