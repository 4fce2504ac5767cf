"""A language model that was added to the database."""

from dataclasses import dataclass
from datetime import datetime

from analyses.checkpoints.shapes import LayerShape
from tracker.domain.states import ProofState


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model at a revision and a dtype."""

    id: int
    name: str  # given by people
    ref: str  # where it is loaded from: a folder, a GGUF file, or hub:OWNER/NAME@REVISION
    revision: str  # commit on the hub; for a local model the first 40 digits of the fingerprint
    dtype: str  # in which it is loaded
    fingerprint: str  # sha256 over config, tokenizer and the bytes of the weights
    family: str  # transformers' model_type
    n_layers: int
    n_heads: int  # query heads; the maximum over layers
    n_kv_heads: int  # key-value heads; the maximum over layers
    d_model: int  # width of the residual stream
    d_head: int  # width of queries and keys; the maximum over heads
    d_vocab: int  # size of the vocabulary
    shapes: tuple[LayerShape, ...] | None  # layer by layer; None: added before they were stored
    n_embeddings: int | None = None  # rows of the token embedding; None: not known
    max_positions: int | None = None  # rows of the position embedding; None: it has none
    trained_positions: int | None = None  # context length in training, tokens; None: not known
    n_bytes: int | None = None  # size of its weights in memory; None: not known
    proof: ProofState = ProofState.PROVED
    proof_reason: str | None = None  # why it was refused, or is not proved yet
    proved_at: datetime | None = None  # None: proved when it was added, or not proved yet

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """The shape of every layer, recorded when the model was proved, or else from its sizes."""
        if self.shapes is not None:
            return self.shapes
        uniform = LayerShape(
            n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, d_qk=self.d_head, d_v=self.d_head
        )
        return (uniform,) * self.n_layers
