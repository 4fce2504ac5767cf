"""A language model that was added."""

from dataclasses import dataclass

from analyses.checkpoints.shapes import LayerShape


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model at a revision and a dtype."""

    id: int
    name: str
    ref: str
    revision: str
    dtype: str
    fingerprint: str
    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    shapes: tuple[LayerShape, ...] | None  # None: added before they were kept
    n_embeddings: int | None = None
    max_positions: int | None = None
    trained_positions: int | None = None

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer as it ran when the model was proved, or all as its numbers say."""
        if self.shapes is not None:
            return self.shapes
        alike = LayerShape(
            n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, d_qk=self.d_head, d_v=self.d_head
        )
        return (alike,) * self.n_layers
