"""Tables of runs, scores and what they are keyed by."""

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
        "study",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Name of the study on the wire."),
        sa.Column("name", sa.Text(), nullable=False, comment="What people call it."),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Who queued its first run."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was made.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("study_pkey")),
        sa.UniqueConstraint("name", name=op.f("study_name_key")),
        schema="headbook",
        comment="A group of runs that were queued together.",
    )
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
        "run",
        sa.Column("id", sa.Uuid(), nullable=False, comment="Name of the run everywhere."),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="Hash of all that the numbers depend on.",
        ),
        sa.Column(
            "rerun_of",
            sa.Uuid(),
            nullable=True,
            comment="The run of the same fingerprint this one repeats.",
        ),
        sa.Column(
            "nonce",
            sa.Text(),
            nullable=True,
            comment="Set by a form: a second click on it makes no second run.",
        ),
        sa.Column(
            "analysis", sa.Text(), nullable=False, comment="Registered name of the analysis."
        ),
        sa.Column(
            "analysis_version", sa.Integer(), nullable=False, comment="Version of the analysis."
        ),
        sa.Column(
            "engine_version",
            sa.Integer(),
            nullable=False,
            comment="Version of what recorded the model.",
        ),
        sa.Column(
            "params",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Parameters, validated by the analysis.",
        ),
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="The model."),
        sa.Column(
            "distribution_id", sa.BigInteger(), nullable=False, comment="The prompt distribution."
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="Seed of the bootstrap."),
        sa.Column("priority", sa.Integer(), nullable=False, comment="0 now, 3 normal, 9 later."),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued, running, finishing, or how it ended.",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it failed or waits, in words."),
        sa.Column("n_prompts", sa.Integer(), nullable=False, comment="Prompts to measure."),
        sa.Column(
            "n_parts", sa.Integer(), nullable=False, comment="Parts the prompts are cut into."
        ),
        sa.Column(
            "attempt",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="Which try this is, from 1.",
        ),
        sa.Column(
            "max_attempts",
            sa.Integer(),
            server_default="3",
            nullable=False,
            comment="Tries before it fails.",
        ),
        sa.Column(
            "crashes",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Workers it has lost.",
        ),
        sa.Column(
            "max_crashes",
            sa.Integer(),
            server_default="3",
            nullable=False,
            comment="Lost workers before it fails.",
        ),
        sa.Column(
            "cancel_requested_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When a person cancelled.",
        ),
        sa.Column(
            "dispatch_due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When the dispatcher rings a worker for it; the outbox.",
        ),
        sa.Column(
            "dispatch_count",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Rings since it last moved; each waits longer.",
        ),
        sa.Column(
            "not_before",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="No part is claimed before this.",
        ),
        sa.Column(
            "provenance",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Code version, library versions, device, dtype and flags it was measured with.",
        ),
        sa.Column(
            "notes",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Conventions of the analysis and warnings about the numbers.",
        ),
        sa.Column("created_by", sa.Text(), nullable=False, comment="Who queued it."),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it was queued.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its first part was claimed.",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it ended."
        ),
        sa.CheckConstraint(
            "(state IN ('cancelled', 'failed', 'succeeded')) = (finished_at IS NOT NULL)",
            name=op.f("run_finished_check"),
        ),
        sa.CheckConstraint(
            "state <> 'failed' OR reason IS NOT NULL", name=op.f("run_failed_for_a_reason_check")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finishing', 'succeeded', 'failed', 'cancelled')",
            name=op.f("run_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["distribution_id"], ["headbook.distribution.id"], name=op.f("run_distribution_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["headbook.model.id"], name=op.f("run_model_id_fkey")
        ),
        sa.ForeignKeyConstraint(["rerun_of"], ["headbook.run.id"], name=op.f("run_rerun_of_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("run_pkey")),
        sa.UniqueConstraint("nonce", name=op.f("run_nonce_key")),
        schema="headbook",
        comment="One analysis of one model on one distribution, with its parameters and seed.",
    )
    op.create_index(
        op.f("run_created_at_idx"), "run", ["created_at"], unique=False, schema="headbook"
    )
    op.create_index(
        "run_due",
        "run",
        ["dispatch_due_at"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'succeeded')"),
    )
    op.create_index(
        "run_fingerprint_once",
        "run",
        ["fingerprint"],
        unique=True,
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('failed', 'cancelled') AND rerun_of IS NULL"),
    )
    op.create_table(
        "part",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "number",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="Place in the run, from 0.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="prompts: measures; finish: puts the slices together, once all are in.",
        ),
        sa.Column("start", sa.Integer(), nullable=False, comment="First prompt."),
        sa.Column("stop", sa.Integer(), nullable=False, comment="One past the last prompt."),
        sa.Column(
            "done",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Prompts measured so far.",
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="queued, running under a lease, or how it ended.",
        ),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Fencing token; rises at claim, release and reap.",
        ),
        sa.Column("worker", sa.Text(), nullable=True, comment="The worker that holds the lease."),
        sa.Column(
            "lease_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the part is taken back; not indexed, so that heartbeats stay cheap.",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was last claimed.",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it ended."
        ),
        sa.CheckConstraint(
            "(state = 'running') = (worker IS NOT NULL) AND (state = 'running') = (lease_expires_at IS NOT NULL)",
            name=op.f("part_leased_while_running_check"),
        ),
        sa.CheckConstraint("kind IN ('prompts', 'finish')", name=op.f("part_kind_check")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("part_state_check"),
        ),
        sa.CheckConstraint(
            "start <= stop AND done BETWEEN 0 AND stop - start", name=op.f("part_slice_check")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("part_run_id_fkey")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("part_pkey")),
        schema="headbook",
        comment="A piece of a run that one worker does: a slice of its prompts.",
    )
    op.create_index(
        "part_running",
        "part",
        ["run_id"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state = 'running'"),
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
    op.create_table(
        "publication",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "state",
            sa.Text(),
            server_default="pending",
            nullable=False,
            comment="pending or published.",
        ),
        sa.Column(
            "mlflow_experiment_id", sa.Text(), nullable=True, comment="MLflow's experiment id."
        ),
        sa.Column("mlflow_run_id", sa.Text(), nullable=True, comment="MLflow's own run id."),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="Tries to publish.",
        ),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When to try next.",
        ),
        sa.Column(
            "held_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="A worker is publishing it and is given up after this.",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="Why the last try failed."),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When MLflow had it all.",
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'published')", name=op.f("publication_state_check")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("publication_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("publication_pkey")),
        schema="headbook",
        comment="The state of a run's mirror in MLflow.",
    )
    op.create_index(
        "publication_due",
        "publication",
        ["due_at"],
        unique=False,
        schema="headbook",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "run_event",
        sa.Column(
            "seq",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="Order of events.",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column(
            "part",
            sa.Integer(),
            nullable=True,
            comment="The part it happened to; NULL: the run itself.",
        ),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When.",
        ),
        sa.Column("event", sa.Text(), nullable=False, comment="The state that was entered."),
        sa.Column("epoch", sa.BigInteger(), nullable=True, comment="Epoch of the part after it."),
        sa.Column(
            "worker", sa.Text(), nullable=True, comment="The worker that holds or held the part."
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, in words."),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("run_event_run_id_fkey")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("run_event_pkey")),
        schema="headbook",
        comment="What happened to a run, append-only; written by triggers.",
    )
    op.create_index(
        op.f("run_event_run_id_seq_idx"),
        "run_event",
        ["run_id", "seq"],
        unique=False,
        schema="headbook",
    )
    op.create_table(
        "score",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("component_id", sa.BigInteger(), nullable=False, comment="The component."),
        sa.Column("metric", sa.Text(), nullable=False, comment="Name of the metric."),
        sa.Column("site", sa.Text(), nullable=False, comment="Named activation, or empty."),
        sa.Column(
            "condition", sa.Text(), nullable=False, comment="What else was varied, or empty."
        ),
        sa.Column(
            "x", sa.DOUBLE_PRECISION(), nullable=False, comment="Coordinate, e.g. a rank; else 0."
        ),
        sa.Column("n", sa.Integer(), nullable=False, comment="Prompts that count."),
        sa.Column("skipped", sa.Integer(), nullable=False, comment="Prompts that were skipped."),
        sa.Column("mean", sa.DOUBLE_PRECISION(), nullable=True, comment="Mean over prompts."),
        sa.Column(
            "sem",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Standard error of the mean, prompts of one item taken together.",
        ),
        sa.Column(
            "ci_low",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Lower end of the 95 % bootstrap interval over items.",
        ),
        sa.Column(
            "ci_high",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="Upper end of the 95 % bootstrap interval over items.",
        ),
        sa.Column(
            "values",
            sa.ARRAY(sa.REAL()),
            nullable=True,
            comment="One value per prompt, in the order of the distribution's prompts; NULL inside: skipped; NULL as a whole: a number about the run, such as the size of a set.",
        ),
        sa.ForeignKeyConstraint(
            ["component_id"], ["headbook.component.id"], name=op.f("score_component_id_fkey")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("score_run_id_fkey")),
        sa.PrimaryKeyConstraint(
            "run_id", "component_id", "metric", "site", "condition", "x", name=op.f("score_pkey")
        ),
        schema="headbook",
        comment="One metric of one component in one run.",
    )
    op.create_index(
        op.f("score_component_id_metric_idx"),
        "score",
        ["component_id", "metric"],
        unique=False,
        schema="headbook",
    )
    op.create_table(
        "study_run",
        sa.Column("study_id", sa.Uuid(), nullable=False, comment="The study."),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.ForeignKeyConstraint(
            ["run_id"], ["headbook.run.id"], name=op.f("study_run_run_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["headbook.study.id"], name=op.f("study_run_study_id_fkey")
        ),
        sa.PrimaryKeyConstraint("study_id", "run_id", name=op.f("study_run_pkey")),
        schema="headbook",
        comment="Which runs belong to which studies.",
    )
    op.create_table(
        "tensor",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the tensor."),
        sa.Column(
            "axes", sa.ARRAY(sa.Text()), nullable=False, comment="Name of each axis; prompt first."
        ),
        sa.Column(
            "coordinates",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What lies along an axis, by axis name.",
        ),
        sa.Column("dtype", sa.Text(), nullable=False, comment="NumPy's name of the dtype."),
        sa.Column("shape", sa.ARRAY(sa.Integer()), nullable=False, comment="Length of each axis."),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="Hash of the stored file; a reader checks it.",
        ),
        sa.Column(
            "size_bytes", sa.BigInteger(), nullable=False, comment="Size of the stored file."
        ),
        sa.Column(
            "mlflow_path",
            sa.Text(),
            nullable=False,
            comment="Path among the MLflow run's artifacts.",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["headbook.run.id"], name=op.f("tensor_run_id_fkey")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("tensor_pkey")),
        schema="headbook",
        comment="A stored array: what it is, and where its bytes lie.",
    )
    op.create_table(
        "part_score",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False, comment="The part."),
        sa.Column("component_id", sa.BigInteger(), nullable=False, comment="The component."),
        sa.Column("metric", sa.Text(), nullable=False, comment="Name of the metric."),
        sa.Column("site", sa.Text(), nullable=False, comment="Named activation, or empty."),
        sa.Column(
            "condition", sa.Text(), nullable=False, comment="What else was varied, or empty."
        ),
        sa.Column(
            "x", sa.DOUBLE_PRECISION(), nullable=False, comment="Coordinate, e.g. a rank; else 0."
        ),
        sa.Column(
            "values",
            sa.ARRAY(sa.REAL()),
            nullable=False,
            comment="One value per prompt of the part; NULL where it was skipped.",
        ),
        sa.ForeignKeyConstraint(
            ["component_id"], ["headbook.component.id"], name=op.f("part_score_component_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "part"],
            ["headbook.part.run_id", "headbook.part.number"],
            name=op.f("part_score_run_id_part_fkey"),
        ),
        sa.PrimaryKeyConstraint(
            "run_id",
            "part",
            "component_id",
            "metric",
            "site",
            "condition",
            "x",
            name=op.f("part_score_pkey"),
        ),
        schema="headbook",
        comment="What a part has measured, until the run finishes and `score` holds it.",
    )
    op.create_table(
        "part_tensor",
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="The run."),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False, comment="The part."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the tensor."),
        sa.Column(
            "axes", sa.ARRAY(sa.Text()), nullable=False, comment="Name of each axis; prompt first."
        ),
        sa.Column(
            "coordinates",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="What lies along an axis, by axis name.",
        ),
        sa.Column("dtype", sa.Text(), nullable=False, comment="NumPy's name of the dtype."),
        sa.Column("shape", sa.ARRAY(sa.Integer()), nullable=False, comment="Length of each axis."),
        sa.Column(
            "data", sa.LargeBinary(), nullable=False, comment="The array, little-endian, C order."
        ),
        sa.ForeignKeyConstraint(
            ["run_id", "part"],
            ["headbook.part.run_id", "headbook.part.number"],
            name=op.f("part_tensor_run_id_part_fkey"),
        ),
        sa.PrimaryKeyConstraint("run_id", "part", "name", name=op.f("part_tensor_pkey")),
        schema="headbook",
        comment="A slice of a tensor, until the run finishes and MLflow stores it whole.",
    )


def downgrade() -> None:
    op.drop_table("part_tensor", schema="headbook")
    op.drop_table("part_score", schema="headbook")
    op.drop_table("tensor", schema="headbook")
    op.drop_table("study_run", schema="headbook")
    op.drop_index(op.f("score_component_id_metric_idx"), table_name="score", schema="headbook")
    op.drop_table("score", schema="headbook")
    op.drop_index(op.f("run_event_run_id_seq_idx"), table_name="run_event", schema="headbook")
    op.drop_table("run_event", schema="headbook")
    op.drop_index(
        "publication_due",
        table_name="publication",
        schema="headbook",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("publication", schema="headbook")
    op.drop_table("prompt", schema="headbook")
    op.drop_index(
        "part_running",
        table_name="part",
        schema="headbook",
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_table("part", schema="headbook")
    op.drop_index(
        "run_fingerprint_once",
        table_name="run",
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('failed', 'cancelled') AND rerun_of IS NULL"),
    )
    op.drop_index(
        "run_due",
        table_name="run",
        schema="headbook",
        postgresql_where=sa.text("state NOT IN ('cancelled', 'failed', 'succeeded')"),
    )
    op.drop_index(op.f("run_created_at_idx"), table_name="run", schema="headbook")
    op.drop_table("run", schema="headbook")
    op.drop_table("item", schema="headbook")
    op.drop_table("component", schema="headbook")
    op.drop_table("worker", schema="headbook")
    op.drop_table("study", schema="headbook")
    op.drop_index(op.f("model_name_idx"), table_name="model", schema="headbook")
    op.drop_table("model", schema="headbook")
    op.drop_table("distribution", schema="headbook")
