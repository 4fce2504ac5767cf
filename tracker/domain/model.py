"""A language model that was added."""

from dataclasses import dataclass
from datetime import datetime

from analyses.checkpoints.shapes import LayerShape
from tracker.domain.states import ProofState


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model at a revision and a dtype."""

    id: int
    name: str  # what people call it
    ref: str  # where it is loaded from: a folder, a GGUF file, or hub:OWNER/NAME@REVISION
    revision: str  # the hub's commit; of a local model the fingerprint's first 40 digits
    dtype: str  # that it is loaded in
    fingerprint: str  # sha256 over config, tokenizer and the bytes of the weights
    family: str  # transformers' model_type
    n_layers: int
    n_heads: int  # query heads of the layer with most
    n_kv_heads: int  # key-value heads of the layer with most
    d_model: int  # width of the residual stream
    d_head: int  # width of the widest head's queries and keys
    d_vocab: int  # size of the vocabulary
    shapes: tuple[LayerShape, ...] | None  # layer by layer; None: added before they were stored
    n_embeddings: int | None = None  # rows of the token embedding; None: not known
    max_positions: int | None = None  # places in its table of positions; None: no table
    trained_positions: int | None = None  # tokens it was trained on; None: not known
    n_bytes: int | None = None  # of its weights in memory; None: not known
    proof: ProofState = ProofState.PROVED
    proof_reason: str | None = None  # why it was refused, or not proved yet
    proved_at: datetime | None = None  # None: when it was added, or not yet

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer as it ran when the model was proved, or all as its numbers say."""
        if self.shapes is not None:
            return self.shapes
        alike = LayerShape(
            n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, d_qk=self.d_head, d_v=self.d_head
        )
        return (alike,) * self.n_layers
