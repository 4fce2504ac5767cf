"""Language models and their components."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from analyses.names import LONGEST
from analyses.results import Kind
from tracker.domain import ProofState
from tracker.tables.metadata import NOW, Id, Instant, Row, is_name, one_of


class ModelRow(Row):
    __tablename__ = "model"
    __table_args__ = (
        UniqueConstraint("ref", "revision", "dtype"),
        Index(None, "name"),
        CheckConstraint(is_name("name", most=LONGEST), name="name"),
        one_of("proof", ProofState),
        CheckConstraint(
            "(proof = 'proving') = (proof_worker IS NOT NULL)"
            " AND (proof = 'proving') = (proof_expires_at IS NOT NULL)",
            name="leased_while_proving",
        ),
        CheckConstraint("proof <> 'refused' OR proof_reason IS NOT NULL", name="refused"),
        Index("model_unproved", "id", postgresql_where=text("proof IN ('unproved', 'proving')")),
        {"comment": "A language model at a revision, in the dtype it is run with."},
    )

    id: Mapped[Id] = mapped_column(BigInteger, comment="Number of the model.")
    name: Mapped[str] = mapped_column(
        comment="What people call it; the newest model of a name wins."
    )
    ref: Mapped[str] = mapped_column(
        comment="Where it was loaded from: a local folder or GGUF file."
    )
    revision: Mapped[str] = mapped_column(
        comment="For local files the first 40 hex digits of the fingerprint."
    )
    dtype: Mapped[str] = mapped_column(comment="Type of the weights in memory, e.g. float32.")
    fingerprint: Mapped[str] = mapped_column(
        comment="sha256 over config, tokenizer and the bytes of the weights."
    )
    family: Mapped[str] = mapped_column(comment="Architecture, e.g. llama.")
    n_layers: Mapped[int] = mapped_column(comment="Transformer layers.")
    n_heads: Mapped[int] = mapped_column(comment="Attention heads of the layer with most.")
    n_kv_heads: Mapped[int] = mapped_column(comment="Key-value heads of the layer with most.")
    d_model: Mapped[int] = mapped_column(comment="Width of the residual stream.")
    d_head: Mapped[int] = mapped_column(comment="Width of the widest head's queries and keys.")
    d_vocab: Mapped[int] = mapped_column(comment="Size of the vocabulary.")
    shapes: Mapped[list[dict[str, Any]] | None] = mapped_column(
        JSONB(none_as_null=True),
        comment="Each layer as it ran: n_heads, n_kv_heads, d_qk, d_v, before_rotary; "
        "null until proved.",
    )
    created_at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When it was added.")
    n_bytes: Mapped[int | None] = mapped_column(
        BigInteger, comment="Bytes of its weights in memory; NULL: added before this was asked."
    )
    proof: Mapped[str] = mapped_column(
        server_default=ProofState.PROVED.value,
        comment="Whether a worker has shown that its layers add up: unproved, proving, proved or"
        " refused; runs wait for it.",
    )
    proof_reason: Mapped[str | None] = mapped_column(
        comment="Why it is refused, or why its proof waits, in words."
    )
    proof_epoch: Mapped[int] = mapped_column(
        BigInteger,
        server_default="0",
        comment="Fencing token of the proof; rises at claim and release.",
    )
    proof_worker: Mapped[str | None] = mapped_column(comment="The worker that proves it.")
    proof_expires_at: Mapped[Instant | None] = mapped_column(
        comment="When the proof goes to another worker."
    )
    proof_attempts: Mapped[int] = mapped_column(
        server_default="0", comment="Tries to prove it that came to no end."
    )
    refused_memory: Mapped[int | None] = mapped_column(
        BigInteger, comment="Bytes of the largest worker that was too small to prove it."
    )
    proved_at: Mapped[Instant | None] = mapped_column(
        comment="When a worker has proved it; NULL: when it was added, or not yet."
    )
    n_embeddings: Mapped[int | None] = mapped_column(
        comment="Rows of the token embedding; NULL: added before this was asked."
    )
    max_positions: Mapped[int | None] = mapped_column(
        comment="Tokens that its table of positions has places for; NULL: no table, or not asked."
    )
    trained_positions: Mapped[int | None] = mapped_column(
        comment="Tokens it was trained on, where longer prompts can be read; NULL: not known."
    )


class ModelRenamingRow(Row):
    __tablename__ = "model_renaming"
    __table_args__ = (
        CheckConstraint(is_name("new_name", most=LONGEST), name="new_name"),
        {"comment": "A name of models that became another, append-only."},
    )

    seq: Mapped[Id] = mapped_column(BigInteger, comment="Order of renamings.")
    at: Mapped[Instant] = mapped_column(server_default=NOW, comment="When.")
    renamed_by: Mapped[str] = mapped_column(comment="Who renamed them.")
    old_name: Mapped[str] = mapped_column(comment="What they were called.")
    new_name: Mapped[str] = mapped_column(comment="What they are called from then on.")


class ComponentRow(Row):
    __tablename__ = "component"
    __table_args__ = (
        UniqueConstraint("model_id", "kind", "layer", "index"),
        one_of("kind", Kind),
        {"comment": "A part of a model that can have scores: a head, an MLP, the whole model …"},
    )

    id: Mapped[Id] = mapped_column(BigInteger, comment="Number of the component.")
    model_id: Mapped[int] = mapped_column(
        ForeignKey(ModelRow.id), comment="The model it belongs to."
    )
    kind: Mapped[str] = mapped_column(comment="head, mlp, model …; see docs/glossary.md.")
    layer: Mapped[int] = mapped_column(comment="Layer, from 0; -1 for what has no layer.")
    index: Mapped[int] = mapped_column(comment="Index in the layer, from 0; -1 for what has none.")
