"""Models, components, prompt distributions and workers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "distribution",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the distribution.",
        ),
        sa.Column(
            "hash",
            sa.Text(),
            nullable=False,
            comment="sha256 over recipe, items, template and prompts.",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="data/template/labels, for people."),
        sa.Column(
            "spec",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The recipe: data, template, labels, seed, size.",
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="Number of prompts."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When first used.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("distribution_pkey")),
        sa.UniqueConstraint("hash", name=op.f("distribution_hash_key")),
        schema="headbook",
        comment="A prompt distribution: a hashed recipe that yields prompts.",
    )
    op.create_table(
        "model",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the model.",
        ),
        sa.Column(
            "name",
            sa.Text(),
            nullable=False,
            comment="What people call it; the newest model of a name wins.",
        ),
        sa.Column(
            "ref",
            sa.Text(),
            nullable=False,
            comment="Where it was loaded from: a local folder or GGUF file.",
        ),
        sa.Column(
            "revision",
            sa.Text(),
            nullable=False,
            comment="For local files the first 40 hex digits of the fingerprint.",
        ),
        sa.Column(
            "dtype",
            sa.Text(),
            nullable=False,
            comment="Type of the weights in memory, e.g. float32.",
        ),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="sha256 over config, tokenizer and the bytes of the weights.",
        ),
        sa.Column("family", sa.Text(), nullable=False, comment="Architecture, e.g. llama."),
        sa.Column("n_layers", sa.Integer(), nullable=False, comment="Transformer layers."),
        sa.Column("n_heads", sa.Integer(), nullable=False, comment="Attention heads per layer."),
        sa.Column("n_kv_heads", sa.Integer(), nullable=False, comment="Key-value heads per layer."),
        sa.Column("d_model", sa.Integer(), nullable=False, comment="Width of the residual stream."),
        sa.Column("d_head", sa.Integer(), nullable=False, comment="Width of a head."),
        sa.Column("d_vocab", sa.Integer(), nullable=False, comment="Size of the vocabulary."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was added.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("model_pkey")),
        sa.UniqueConstraint("ref", "revision", "dtype", name=op.f("model_ref_revision_dtype_key")),
        schema="headbook",
        comment="A language model at a revision, in the dtype it is run with.",
    )
    op.create_index(op.f("model_name_idx"), "model", ["name"], unique=False, schema="headbook")
    op.create_table(
        "worker",
        sa.Column("name", sa.Text(), nullable=False, comment="host:pid."),
        sa.Column("host", sa.Text(), nullable=False, comment="Host it runs on."),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process id on that host."),
        sa.Column(
            "device",
            sa.Text(),
            nullable=False,
            comment="Device it computes on, e.g. cpu or cuda:0.",
        ),
        sa.Column(
            "loaded_model", sa.Text(), nullable=True, comment="Name of the model in its memory."
        ),
        sa.Column(
            "busy_with", sa.Text(), nullable=True, comment="Id of the run it works on; NULL: idle."
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it started.",
        ),
        sa.Column(
            "last_seen",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="Its last sign of life.",
        ),
        sa.Column(
            "stopped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it said that it stops.",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("worker_pkey")),
        schema="headbook",
        comment="A worker process that has been seen.",
    )
    op.create_table(
        "component",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Number of the component.",
        ),
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="The model it belongs to."),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="head, mlp, model …; see docs/glossary.md."
        ),
        sa.Column(
            "layer",
            sa.Integer(),
            nullable=False,
            comment="Layer, from 0; -1 for what has no layer.",
        ),
        sa.Column(
            "index",
            sa.Integer(),
            nullable=False,
            comment="Index in the layer, from 0; -1 for what has none.",
        ),
        sa.CheckConstraint(
            "kind IN ('model', 'head', 'kv_head', 'mlp', 'attn', 'embed', 'attn_bias', 'unembed', 'set')",
            name=op.f("component_kind_check"),
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["headbook.model.id"], name=op.f("component_model_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("component_pkey")),
        sa.UniqueConstraint(
            "model_id",
            "kind",
            "layer",
            "index",
            name=op.f("component_model_id_kind_layer_index_key"),
        ),
        schema="headbook",
        comment="A part of a model that can have scores: a head, an MLP, the whole model …",
    )
    op.create_table(
        "item",
        sa.Column(
            "distribution_id",
            sa.BigInteger(),
            nullable=False,
            comment="The distribution it is used in.",
        ),
        sa.Column(
            "key", sa.Text(), nullable=False, comment="Name of the item, e.g. capitals/France."
        ),
        sa.Column("topic", sa.Text(), nullable=False, comment="What the question is about."),
        sa.Column("question", sa.Text(), nullable=False, comment="The question."),
        sa.Column("answer", sa.Text(), nullable=False, comment="The true answer."),
        sa.Column(
            "distractors",
            sa.ARRAY(sa.Text()),
            nullable=False,
            comment="Answers of the same kind that are false here.",
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id"],
            ["headbook.distribution.id"],
            name=op.f("item_distribution_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("distribution_id", "key", name=op.f("item_pkey")),
        schema="headbook",
        comment="One question with its answer and distractors; prompts are made from items.",
    )
    op.create_table(
        "prompt",
        sa.Column(
            "distribution_id",
            sa.BigInteger(),
            nullable=False,
            comment="The distribution it belongs to.",
        ),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the distribution, from 0; score.values[number + 1] belongs to it.",
        ),
        sa.Column("item_key", sa.Text(), nullable=False, comment="The item it was made from."),
        sa.Column(
            "text",
            sa.Text(),
            nullable=False,
            comment="The whole text, up to where a label continues it.",
        ),
        sa.Column("labels", sa.ARRAY(sa.Text()), nullable=False, comment="Symbols of the options."),
        sa.Column("options", sa.ARRAY(sa.Text()), nullable=False, comment="Texts of the options."),
        sa.Column(
            "correct", sa.Integer(), nullable=False, comment="Index of the correct option, from 0."
        ),
        sa.Column(
            "spans",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Characters [start, stop) of each label and option in the text.",
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id", "item_key"],
            ["headbook.item.distribution_id", "headbook.item.key"],
            name=op.f("prompt_distribution_id_item_key_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id"],
            ["headbook.distribution.id"],
            name=op.f("prompt_distribution_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("distribution_id", "number", name=op.f("prompt_pkey")),
        schema="headbook",
        comment="One prompt, as the model reads it.",
    )


def downgrade() -> None:
    op.drop_table("prompt", schema="headbook")
    op.drop_table("item", schema="headbook")
    op.drop_table("component", schema="headbook")
    op.drop_table("worker", schema="headbook")
    op.drop_index(op.f("model_name_idx"), table_name="model", schema="headbook")
    op.drop_table("model", schema="headbook")
    op.drop_table("distribution", schema="headbook")
