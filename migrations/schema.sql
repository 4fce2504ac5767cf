CREATE SCHEMA headbook;

COMMENT ON SCHEMA headbook IS 'The tables of the product; query results instead.';

CREATE SCHEMA results;

COMMENT ON SCHEMA results IS 'What people query: stable while tables change.';

CREATE FUNCTION headbook.guard_part() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled') THEN
    RAISE EXCEPTION 'part % of run % has ended (%) and stays as it is',
      OLD.number, OLD.run_id, OLD.state USING ERRCODE = 'HB001', CONSTRAINT = 'part_ended';
  END IF;
  IF NEW.epoch < OLD.epoch OR (NEW.epoch = OLD.epoch AND (
       (OLD.state = 'queued' AND NEW.state = 'running')
    OR (OLD.state = 'running' AND NEW.state = 'queued')))
  THEN
    RAISE EXCEPTION 'part % of run %: the epoch must rise from % when it goes from % to %',
      OLD.number, OLD.run_id, OLD.epoch, OLD.state, NEW.state
      USING ERRCODE = 'HB003', CONSTRAINT = 'part_epoch';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION headbook.guard_run() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF OLD.state IN ('succeeded', 'failed', 'cancelled') THEN
    RAISE EXCEPTION 'run % has ended (%) and stays as it is', OLD.id, OLD.state
      USING ERRCODE = 'HB001', CONSTRAINT = 'run_ended';
  END IF;
  IF NEW.state <> OLD.state AND NOT (
       (OLD.state = 'queued' AND NEW.state IN ('running', 'failed', 'cancelled'))
    OR (OLD.state = 'running' AND NEW.state IN ('queued', 'finishing', 'failed', 'cancelled'))
    OR (OLD.state = 'finishing' AND NEW.state IN ('succeeded', 'failed', 'cancelled')))
  THEN
    RAISE EXCEPTION 'run % may not move from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'HB002', CONSTRAINT = 'run_move';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION headbook.make_publication_due() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  UPDATE headbook.publication SET due_at = clock_timestamp() WHERE run_id = NEW.id;
  RETURN NULL;
END $$;

CREATE FUNCTION headbook.no_values() RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
BEGIN
  RAISE EXCEPTION 'a score needs values in column "varied": it is of an older version'
    USING ERRCODE = 'undefined_column';
END $$;

CREATE FUNCTION headbook.note_part() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF NEW.state <> OLD.state THEN
    INSERT INTO headbook.run_event (run_id, part, event, epoch, worker)
    VALUES (NEW.run_id, NEW.number, NEW.state, NEW.epoch, coalesce(NEW.worker, OLD.worker));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION headbook.note_run() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  IF TG_OP = 'INSERT' OR NEW.state <> OLD.state
    OR (NEW.reason IS NOT NULL AND NEW.reason IS DISTINCT FROM OLD.reason)
  THEN
    INSERT INTO headbook.run_event (run_id, event, reason) VALUES (NEW.id, NEW.state, NEW.reason);
  END IF;
  RETURN NULL;
END $$;

CREATE TABLE headbook.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE headbook.component (
    id bigint NOT NULL,
    model_id bigint NOT NULL,
    kind text NOT NULL,
    layer integer NOT NULL,
    index integer NOT NULL,
    CONSTRAINT component_kind_check CHECK ((kind = ANY (ARRAY['model'::text, 'head'::text, 'kv_head'::text, 'mlp'::text, 'attn'::text, 'embed'::text, 'attn_bias'::text, 'unembed'::text, 'set'::text])))
);

COMMENT ON TABLE headbook.component IS 'A part of a model that can have scores: a head, an MLP, the whole model …';

COMMENT ON COLUMN headbook.component.id IS 'Number of the component.';

COMMENT ON COLUMN headbook.component.model_id IS 'The model it belongs to.';

COMMENT ON COLUMN headbook.component.kind IS 'head, mlp, model …; see docs/glossary.md.';

COMMENT ON COLUMN headbook.component.layer IS 'Layer, from 0; -1 for what has no layer.';

COMMENT ON COLUMN headbook.component.index IS 'Index in the layer, from 0; -1 for what has none.';

ALTER TABLE headbook.component ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.component_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.distribution (
    id bigint NOT NULL,
    hash text NOT NULL,
    name text NOT NULL,
    spec jsonb NOT NULL,
    size integer NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT distribution_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 3002)) AND (name !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text)))
);

COMMENT ON TABLE headbook.distribution IS 'A prompt distribution: a hashed recipe that yields prompts.';

COMMENT ON COLUMN headbook.distribution.id IS 'Number of the distribution.';

COMMENT ON COLUMN headbook.distribution.hash IS 'sha256 over recipe, items, template and prompts.';

COMMENT ON COLUMN headbook.distribution.name IS 'data/template/labels, or data/counterfactual of completions, for people.';

COMMENT ON COLUMN headbook.distribution.spec IS 'The recipe: every field of it.';

COMMENT ON COLUMN headbook.distribution.size IS 'Number of prompts.';

COMMENT ON COLUMN headbook.distribution.created_at IS 'When first used.';

ALTER TABLE headbook.distribution ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.distribution_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.item (
    distribution_id bigint NOT NULL,
    key text NOT NULL,
    topic text NOT NULL,
    question text NOT NULL,
    answer text NOT NULL,
    distractors text[] NOT NULL
);

COMMENT ON TABLE headbook.item IS 'One question with its answer and distractors; prompts are made from items.';

COMMENT ON COLUMN headbook.item.distribution_id IS 'The distribution it is used in.';

COMMENT ON COLUMN headbook.item.key IS 'Name of the item, e.g. capitals/France.';

COMMENT ON COLUMN headbook.item.topic IS 'What the question is about.';

COMMENT ON COLUMN headbook.item.question IS 'The question.';

COMMENT ON COLUMN headbook.item.answer IS 'The true answer.';

COMMENT ON COLUMN headbook.item.distractors IS 'Answers of the same kind that are false here.';

CREATE TABLE headbook.model (
    id bigint NOT NULL,
    name text NOT NULL,
    ref text NOT NULL,
    revision text NOT NULL,
    dtype text NOT NULL,
    fingerprint text NOT NULL,
    family text NOT NULL,
    n_layers integer NOT NULL,
    n_heads integer NOT NULL,
    n_kv_heads integer NOT NULL,
    d_model integer NOT NULL,
    d_head integer NOT NULL,
    d_vocab integer NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    shapes jsonb,
    n_embeddings integer,
    max_positions integer,
    trained_positions integer,
    n_bytes bigint,
    proof text DEFAULT 'proved'::text NOT NULL,
    proof_reason text,
    proof_epoch bigint DEFAULT 0 NOT NULL,
    proof_worker text,
    proof_expires_at timestamp with time zone,
    proof_attempts integer DEFAULT 0 NOT NULL,
    refused_memory bigint,
    proved_at timestamp with time zone,
    CONSTRAINT model_leased_while_proving_check CHECK ((((proof = 'proving'::text) = (proof_worker IS NOT NULL)) AND ((proof = 'proving'::text) = (proof_expires_at IS NOT NULL)))),
    CONSTRAINT model_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text))),
    CONSTRAINT model_proof_check CHECK ((proof = ANY (ARRAY['unproved'::text, 'proving'::text, 'proved'::text, 'refused'::text]))),
    CONSTRAINT model_refused_check CHECK (((proof <> 'refused'::text) OR (proof_reason IS NOT NULL)))
);

COMMENT ON TABLE headbook.model IS 'A language model at a revision, in the dtype it is run with.';

COMMENT ON COLUMN headbook.model.id IS 'Number of the model.';

COMMENT ON COLUMN headbook.model.name IS 'What people call it; the newest model of a name wins.';

COMMENT ON COLUMN headbook.model.ref IS 'Where it was loaded from: a local folder or GGUF file.';

COMMENT ON COLUMN headbook.model.revision IS 'For local files the first 40 hex digits of the fingerprint.';

COMMENT ON COLUMN headbook.model.dtype IS 'Type of the weights in memory, e.g. float32.';

COMMENT ON COLUMN headbook.model.fingerprint IS 'sha256 over config, tokenizer and the bytes of the weights.';

COMMENT ON COLUMN headbook.model.family IS 'Architecture, e.g. llama.';

COMMENT ON COLUMN headbook.model.n_layers IS 'Transformer layers.';

COMMENT ON COLUMN headbook.model.n_heads IS 'Attention heads of the layer with most.';

COMMENT ON COLUMN headbook.model.n_kv_heads IS 'Key-value heads of the layer with most.';

COMMENT ON COLUMN headbook.model.d_model IS 'Width of the residual stream.';

COMMENT ON COLUMN headbook.model.d_head IS 'Width of the widest head''s queries and keys.';

COMMENT ON COLUMN headbook.model.d_vocab IS 'Size of the vocabulary.';

COMMENT ON COLUMN headbook.model.created_at IS 'When it was added.';

COMMENT ON COLUMN headbook.model.shapes IS 'Each layer as it ran: n_heads, n_kv_heads, d_qk, d_v, before_rotary; null until proved.';

COMMENT ON COLUMN headbook.model.n_embeddings IS 'Rows of the token embedding; NULL: added before this was asked.';

COMMENT ON COLUMN headbook.model.max_positions IS 'Tokens that its table of positions has places for; NULL: no table, or not asked.';

COMMENT ON COLUMN headbook.model.trained_positions IS 'Tokens it was trained on, where longer prompts can be read; NULL: not known.';

COMMENT ON COLUMN headbook.model.n_bytes IS 'Bytes of its weights in memory; NULL: added before this was asked.';

COMMENT ON COLUMN headbook.model.proof IS 'Whether a worker has shown that its layers add up: unproved, proving, proved or refused; runs wait for it.';

COMMENT ON COLUMN headbook.model.proof_reason IS 'Why it is refused, or why its proof waits, in words.';

COMMENT ON COLUMN headbook.model.proof_epoch IS 'Fencing token of the proof; rises at claim and release.';

COMMENT ON COLUMN headbook.model.proof_worker IS 'The worker that proves it.';

COMMENT ON COLUMN headbook.model.proof_expires_at IS 'When the proof goes to another worker.';

COMMENT ON COLUMN headbook.model.proof_attempts IS 'Tries to prove it that came to no end.';

COMMENT ON COLUMN headbook.model.refused_memory IS 'Bytes of the largest worker that was too small to prove it.';

COMMENT ON COLUMN headbook.model.proved_at IS 'When a worker has proved it; NULL: when it was added, or not yet.';

ALTER TABLE headbook.model ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.model_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.model_renaming (
    seq bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    renamed_by text NOT NULL,
    old_name text NOT NULL,
    new_name text NOT NULL,
    CONSTRAINT model_renaming_new_name_check CHECK ((((char_length(new_name) >= 1) AND (char_length(new_name) <= 200)) AND (new_name !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text)))
);

COMMENT ON TABLE headbook.model_renaming IS 'A name of models that became another, append-only.';

COMMENT ON COLUMN headbook.model_renaming.seq IS 'Order of renamings.';

COMMENT ON COLUMN headbook.model_renaming.at IS 'When.';

COMMENT ON COLUMN headbook.model_renaming.renamed_by IS 'Who renamed them.';

COMMENT ON COLUMN headbook.model_renaming.old_name IS 'What they were called.';

COMMENT ON COLUMN headbook.model_renaming.new_name IS 'What they are called from then on.';

ALTER TABLE headbook.model_renaming ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.model_renaming_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.part (
    run_id uuid NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    start integer NOT NULL,
    stop integer NOT NULL,
    done integer DEFAULT 0 NOT NULL,
    state text NOT NULL,
    epoch bigint DEFAULT '0'::bigint NOT NULL,
    worker text,
    lease_expires_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT part_kind_check CHECK ((kind = ANY (ARRAY['prompts'::text, 'finish'::text]))),
    CONSTRAINT part_leased_while_running_check CHECK ((((state = 'running'::text) = (worker IS NOT NULL)) AND ((state = 'running'::text) = (lease_expires_at IS NOT NULL)))),
    CONSTRAINT part_slice_check CHECK (((start <= stop) AND ((done >= 0) AND (done <= (stop - start))))),
    CONSTRAINT part_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);

COMMENT ON TABLE headbook.part IS 'A piece of a run that one worker does: a slice of its prompts.';

COMMENT ON COLUMN headbook.part.run_id IS 'The run.';

COMMENT ON COLUMN headbook.part.number IS 'Place in the run, from 0.';

COMMENT ON COLUMN headbook.part.kind IS 'prompts: measures; finish: puts the slices together, once all are in.';

COMMENT ON COLUMN headbook.part.start IS 'First prompt.';

COMMENT ON COLUMN headbook.part.stop IS 'One past the last prompt.';

COMMENT ON COLUMN headbook.part.done IS 'Prompts measured so far.';

COMMENT ON COLUMN headbook.part.state IS 'queued, running under a lease, or how it ended.';

COMMENT ON COLUMN headbook.part.epoch IS 'Fencing token; rises at claim, release and reap.';

COMMENT ON COLUMN headbook.part.worker IS 'The worker that holds the lease.';

COMMENT ON COLUMN headbook.part.lease_expires_at IS 'When the part is taken back; not indexed, so that heartbeats stay cheap.';

COMMENT ON COLUMN headbook.part.started_at IS 'When it was last claimed.';

COMMENT ON COLUMN headbook.part.finished_at IS 'When it ended.';

CREATE TABLE headbook.part_score (
    run_id uuid NOT NULL,
    part integer NOT NULL,
    component_id bigint NOT NULL,
    metric text NOT NULL,
    site text NOT NULL,
    condition text NOT NULL,
    x double precision NOT NULL,
    "values" real[] NOT NULL,
    varied jsonb DEFAULT headbook.no_values() NOT NULL,
    CONSTRAINT part_score_varied_check CHECK (
CASE
    WHEN (((varied - 'of'::text) - 'variant'::text) = '{}'::jsonb) THEN (condition = (COALESCE((varied ->> 'of'::text), ''::text) || COALESCE(('/'::text || (varied ->> 'variant'::text)), ''::text)))
    ELSE (POSITION(('='::text) IN (condition)) > 0)
END)
);

COMMENT ON TABLE headbook.part_score IS 'What a part has measured, until the run finishes and `score` holds it.';

COMMENT ON COLUMN headbook.part_score.run_id IS 'The run.';

COMMENT ON COLUMN headbook.part_score.part IS 'The part.';

COMMENT ON COLUMN headbook.part_score.component_id IS 'The component.';

COMMENT ON COLUMN headbook.part_score.metric IS 'Name of the metric.';

COMMENT ON COLUMN headbook.part_score.site IS 'Named activation, or empty.';

COMMENT ON COLUMN headbook.part_score.condition IS 'What else was varied, or empty.';

COMMENT ON COLUMN headbook.part_score.x IS 'Coordinate, e.g. a rank; else 0.';

COMMENT ON COLUMN headbook.part_score."values" IS 'One value per prompt of the part; NULL where it was skipped.';

COMMENT ON COLUMN headbook.part_score.varied IS 'What condition says: values by name.';

CREATE TABLE headbook.part_tensor (
    run_id uuid NOT NULL,
    part integer NOT NULL,
    name text NOT NULL,
    axes text[] NOT NULL,
    coordinates jsonb NOT NULL,
    dtype text NOT NULL,
    shape integer[] NOT NULL,
    epoch bigint NOT NULL,
    sha256 text NOT NULL
);

COMMENT ON TABLE headbook.part_tensor IS 'A slice of a tensor, until the run finishes and MLflow stores it whole.';

COMMENT ON COLUMN headbook.part_tensor.run_id IS 'The run.';

COMMENT ON COLUMN headbook.part_tensor.part IS 'The part.';

COMMENT ON COLUMN headbook.part_tensor.name IS 'Name of the tensor.';

COMMENT ON COLUMN headbook.part_tensor.axes IS 'Name of each axis; prompt first.';

COMMENT ON COLUMN headbook.part_tensor.coordinates IS 'What lies along an axis, by axis name.';

COMMENT ON COLUMN headbook.part_tensor.dtype IS 'NumPy''s name of the dtype.';

COMMENT ON COLUMN headbook.part_tensor.shape IS 'Length of each axis.';

COMMENT ON COLUMN headbook.part_tensor.epoch IS 'Epoch of the chunks that hold it.';

COMMENT ON COLUMN headbook.part_tensor.sha256 IS 'Hash of the bytes of its chunks.';

CREATE TABLE headbook.part_tensor_chunk (
    run_id uuid NOT NULL,
    part integer NOT NULL,
    epoch bigint NOT NULL,
    name text NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT part_tensor_chunk_size_check CHECK ((octet_length(data) <= 4194304))
);
ALTER TABLE ONLY headbook.part_tensor_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

COMMENT ON TABLE headbook.part_tensor_chunk IS 'Bytes of a slice of a tensor: little-endian, C order. They count once part_tensor names their epoch; they are removed when the run has ended.';

COMMENT ON COLUMN headbook.part_tensor_chunk.run_id IS 'The run.';

COMMENT ON COLUMN headbook.part_tensor_chunk.part IS 'The part.';

COMMENT ON COLUMN headbook.part_tensor_chunk.epoch IS 'The claim that wrote it.';

COMMENT ON COLUMN headbook.part_tensor_chunk.name IS 'Name of the tensor.';

COMMENT ON COLUMN headbook.part_tensor_chunk.number IS 'Place in the slice, from 0.';

COMMENT ON COLUMN headbook.part_tensor_chunk.data IS 'The bytes.';

CREATE TABLE headbook.prompt (
    distribution_id bigint NOT NULL,
    number integer NOT NULL,
    item_key text NOT NULL,
    text text NOT NULL,
    labels text[] NOT NULL,
    options text[] NOT NULL,
    correct integer[] NOT NULL,
    spans jsonb NOT NULL,
    groups jsonb DEFAULT '{}'::jsonb NOT NULL
);

COMMENT ON TABLE headbook.prompt IS 'One prompt, as the model reads it.';

COMMENT ON COLUMN headbook.prompt.distribution_id IS 'The distribution it belongs to.';

COMMENT ON COLUMN headbook.prompt.number IS 'Place in the distribution, from 0; score.values[number + 1] belongs to it.';

COMMENT ON COLUMN headbook.prompt.item_key IS 'The item it was made from.';

COMMENT ON COLUMN headbook.prompt.text IS 'The whole text, up to where a label continues it.';

COMMENT ON COLUMN headbook.prompt.labels IS 'What may continue the text: symbols of the options, or candidates.';

COMMENT ON COLUMN headbook.prompt.options IS 'Texts of the options; none of a completion.';

COMMENT ON COLUMN headbook.prompt.correct IS 'Indices of the correct labels, from 0: one or several.';

COMMENT ON COLUMN headbook.prompt.spans IS 'Characters [start, stop) of the question and of each label and option in the text, or of the named parts of a completion; where each option''s line stops; what joins a label to the text.';

COMMENT ON COLUMN headbook.prompt.groups IS 'Groups of completions that it belongs to, such as its template.';

CREATE TABLE headbook.prompt_pair (
    distribution_id bigint NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    seed bigint NOT NULL,
    source_number integer NOT NULL,
    differs text[] NOT NULL,
    item_key text NOT NULL,
    text text NOT NULL,
    labels text[] NOT NULL,
    options text[] NOT NULL,
    correct integer[] NOT NULL,
    spans jsonb NOT NULL,
    groups jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT prompt_pair_kind_check CHECK ((kind = ANY (ARRAY['resample'::text, 'permute_options'::text, 'randomise_labels'::text, 'position_symbol'::text, 'paired'::text, 'random_letters'::text, 'shuffled'::text, 'ordered_letters'::text, 'numbers'::text, 'symbols'::text, 'other_separators'::text, 'no_prelude'::text])))
);

COMMENT ON TABLE headbook.prompt_pair IS 'A source of activations for a prompt, or the same question told otherwise.';

COMMENT ON COLUMN headbook.prompt_pair.distribution_id IS 'The distribution of the base prompt.';

COMMENT ON COLUMN headbook.prompt_pair.number IS 'The base prompt''s place in it.';

COMMENT ON COLUMN headbook.prompt_pair.kind IS 'How the companion was made: resample, paired, permute_options, shuffled …';

COMMENT ON COLUMN headbook.prompt_pair.seed IS 'Which draw of sources.';

COMMENT ON COLUMN headbook.prompt_pair.source_number IS 'The prompt that the source is or, unless it was resampled, is a change of.';

COMMENT ON COLUMN headbook.prompt_pair.differs IS 'What differs: question, options, labels, position, label, shots, wording, text.';

COMMENT ON COLUMN headbook.prompt_pair.item_key IS 'The item that the source asks.';

COMMENT ON COLUMN headbook.prompt_pair.text IS 'The source''s whole text.';

COMMENT ON COLUMN headbook.prompt_pair.labels IS 'What may continue it: symbols of its options, or candidates.';

COMMENT ON COLUMN headbook.prompt_pair.options IS 'Texts of its options; none of a completion.';

COMMENT ON COLUMN headbook.prompt_pair.correct IS 'Indices of its correct labels, from 0: one or several.';

COMMENT ON COLUMN headbook.prompt_pair.spans IS 'Places in its text, as those of a prompt.';

COMMENT ON COLUMN headbook.prompt_pair.groups IS 'Groups of completions that it belongs to.';

CREATE TABLE headbook.publication (
    run_id uuid NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    mlflow_experiment_id text,
    mlflow_run_id text,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone,
    held_until timestamp with time zone,
    error text,
    published_at timestamp with time zone,
    CONSTRAINT publication_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'published'::text])))
);

COMMENT ON TABLE headbook.publication IS 'The state of a run''s mirror in MLflow.';

COMMENT ON COLUMN headbook.publication.run_id IS 'The run.';

COMMENT ON COLUMN headbook.publication.state IS 'pending or published.';

COMMENT ON COLUMN headbook.publication.mlflow_experiment_id IS 'MLflow''s experiment id.';

COMMENT ON COLUMN headbook.publication.mlflow_run_id IS 'MLflow''s own run id.';

COMMENT ON COLUMN headbook.publication.attempts IS 'Tries to publish.';

COMMENT ON COLUMN headbook.publication.due_at IS 'When to try next; NULL while the run has not ended, or once MLflow has refused it.';

COMMENT ON COLUMN headbook.publication.held_until IS 'A worker is publishing it and is given up after this.';

COMMENT ON COLUMN headbook.publication.error IS 'Why the last try failed.';

COMMENT ON COLUMN headbook.publication.published_at IS 'When MLflow had it all.';

CREATE TABLE headbook.run (
    id uuid NOT NULL,
    fingerprint text NOT NULL,
    rerun_of uuid,
    nonce text,
    analysis text NOT NULL,
    analysis_version integer NOT NULL,
    engine_version integer NOT NULL,
    params jsonb NOT NULL,
    model_id bigint NOT NULL,
    distribution_id bigint NOT NULL,
    seed bigint NOT NULL,
    priority integer NOT NULL,
    state text NOT NULL,
    reason text,
    n_prompts integer NOT NULL,
    n_parts integer NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    max_attempts integer DEFAULT 3 NOT NULL,
    crashes integer DEFAULT 0 NOT NULL,
    max_crashes integer DEFAULT 3 NOT NULL,
    cancel_requested_at timestamp with time zone,
    dispatch_due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    dispatch_count integer DEFAULT 0 NOT NULL,
    not_before timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    provenance jsonb,
    notes jsonb,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    crashed_at timestamp with time zone,
    needs_memory bigint,
    refused_memory bigint,
    CONSTRAINT run_failed_for_a_reason_check CHECK (((state <> 'failed'::text) OR (reason IS NOT NULL))),
    CONSTRAINT run_finished_check CHECK (((state = ANY (ARRAY['cancelled'::text, 'failed'::text, 'succeeded'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT run_names_check CHECK (((finished_at IS NOT NULL) OR (((char_length(analysis) >= 1) AND (char_length(analysis) <= 200)) AND (analysis !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text) AND ((char_length(created_by) >= 1) AND (char_length(created_by) <= 200)) AND (created_by !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text)))),
    CONSTRAINT run_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'finishing'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text])))
);

COMMENT ON TABLE headbook.run IS 'One analysis of one model on one distribution, with its parameters and seed.';

COMMENT ON COLUMN headbook.run.id IS 'Name of the run everywhere.';

COMMENT ON COLUMN headbook.run.fingerprint IS 'Hash of all that the numbers depend on.';

COMMENT ON COLUMN headbook.run.rerun_of IS 'The run of the same fingerprint this one repeats.';

COMMENT ON COLUMN headbook.run.nonce IS 'Set by a form: a second click on it makes no second run.';

COMMENT ON COLUMN headbook.run.analysis IS 'Registered name of the analysis.';

COMMENT ON COLUMN headbook.run.analysis_version IS 'Version of the analysis.';

COMMENT ON COLUMN headbook.run.engine_version IS 'Version of what recorded the model.';

COMMENT ON COLUMN headbook.run.params IS 'Parameters, validated by the analysis.';

COMMENT ON COLUMN headbook.run.model_id IS 'The model.';

COMMENT ON COLUMN headbook.run.distribution_id IS 'The prompt distribution.';

COMMENT ON COLUMN headbook.run.seed IS 'Seed of the bootstrap.';

COMMENT ON COLUMN headbook.run.priority IS '0 now, 3 normal, 9 later.';

COMMENT ON COLUMN headbook.run.state IS 'queued, running, finishing, or how it ended.';

COMMENT ON COLUMN headbook.run.reason IS 'Why it failed or waits, in words.';

COMMENT ON COLUMN headbook.run.n_prompts IS 'Prompts to measure.';

COMMENT ON COLUMN headbook.run.n_parts IS 'Parts the prompts are cut into.';

COMMENT ON COLUMN headbook.run.attempt IS 'Which try this is, from 1.';

COMMENT ON COLUMN headbook.run.max_attempts IS 'Tries before it fails.';

COMMENT ON COLUMN headbook.run.crashes IS 'Workers it has lost.';

COMMENT ON COLUMN headbook.run.max_crashes IS 'Lost workers before it fails.';

COMMENT ON COLUMN headbook.run.cancel_requested_at IS 'When a person cancelled.';

COMMENT ON COLUMN headbook.run.dispatch_due_at IS 'When the dispatcher rings a worker for it; the outbox.';

COMMENT ON COLUMN headbook.run.dispatch_count IS 'Rings since it last moved; each waits longer.';

COMMENT ON COLUMN headbook.run.not_before IS 'No part is claimed before this.';

COMMENT ON COLUMN headbook.run.provenance IS 'Code version, library versions, device, dtype and flags it was measured with.';

COMMENT ON COLUMN headbook.run.notes IS 'Conventions of the analysis and warnings about the numbers.';

COMMENT ON COLUMN headbook.run.created_by IS 'Who queued it.';

COMMENT ON COLUMN headbook.run.created_at IS 'When it was queued.';

COMMENT ON COLUMN headbook.run.started_at IS 'When its first part was claimed.';

COMMENT ON COLUMN headbook.run.finished_at IS 'When it ended.';

COMMENT ON COLUMN headbook.run.crashed_at IS 'When its last crash was counted; a part claimed before it counts for no more.';

COMMENT ON COLUMN headbook.run.needs_memory IS 'Bytes of memory it takes at the least; NULL: not known, or no model.';

COMMENT ON COLUMN headbook.run.refused_memory IS 'Bytes of the largest worker that was too small for it.';

CREATE TABLE headbook.run_event (
    seq bigint NOT NULL,
    run_id uuid NOT NULL,
    part integer,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    event text NOT NULL,
    epoch bigint,
    worker text,
    reason text
);

COMMENT ON TABLE headbook.run_event IS 'What happened to a run, append-only; written by triggers.';

COMMENT ON COLUMN headbook.run_event.seq IS 'Order of events.';

COMMENT ON COLUMN headbook.run_event.run_id IS 'The run.';

COMMENT ON COLUMN headbook.run_event.part IS 'The part it happened to; NULL: the run itself.';

COMMENT ON COLUMN headbook.run_event.at IS 'When.';

COMMENT ON COLUMN headbook.run_event.event IS 'The state that was entered.';

COMMENT ON COLUMN headbook.run_event.epoch IS 'Epoch of the part after it.';

COMMENT ON COLUMN headbook.run_event.worker IS 'The worker that holds or held the part.';

COMMENT ON COLUMN headbook.run_event.reason IS 'Why, in words.';

ALTER TABLE headbook.run_event ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.run_event_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.run_input (
    run_id uuid NOT NULL,
    name text NOT NULL,
    needs_run_id uuid NOT NULL,
    CONSTRAINT run_input_another_check CHECK ((run_id <> needs_run_id))
);

COMMENT ON TABLE headbook.run_input IS 'A run reads another''s result: it waits for it, and ends when it fails.';

COMMENT ON COLUMN headbook.run_input.run_id IS 'The run that waits.';

COMMENT ON COLUMN headbook.run_input.name IS 'Under which the result is handed over.';

COMMENT ON COLUMN headbook.run_input.needs_run_id IS 'The run whose result it reads.';

CREATE TABLE headbook.run_log (
    seq bigint NOT NULL,
    run_id uuid NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    part integer NOT NULL,
    epoch bigint NOT NULL,
    worker text NOT NULL,
    level text NOT NULL,
    line text NOT NULL,
    CONSTRAINT run_log_level_check CHECK ((level = ANY (ARRAY['debug'::text, 'info'::text, 'warning'::text, 'error'::text, 'critical'::text, 'stdout'::text, 'stderr'::text])))
);

COMMENT ON TABLE headbook.run_log IS 'What was logged and printed while a part was worked on, append-only.';

COMMENT ON COLUMN headbook.run_log.seq IS 'Order of lines; of one run also of commits.';

COMMENT ON COLUMN headbook.run_log.run_id IS 'The run.';

COMMENT ON COLUMN headbook.run_log.at IS 'When it was said.';

COMMENT ON COLUMN headbook.run_log.part IS 'The part that was worked on.';

COMMENT ON COLUMN headbook.run_log.epoch IS 'Epoch of the claim; with an older one than the part''s it was taken back.';

COMMENT ON COLUMN headbook.run_log.worker IS 'The worker that said it.';

COMMENT ON COLUMN headbook.run_log.level IS 'debug, info, warning, error, critical, or stdout, stderr: printed.';

COMMENT ON COLUMN headbook.run_log.line IS 'One line, without credentials.';

ALTER TABLE headbook.run_log ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headbook.run_log_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headbook.score (
    run_id uuid NOT NULL,
    component_id bigint NOT NULL,
    metric text NOT NULL,
    site text NOT NULL,
    condition text NOT NULL,
    x double precision NOT NULL,
    n integer NOT NULL,
    skipped integer NOT NULL,
    mean double precision,
    sem double precision,
    ci_low double precision,
    ci_high double precision,
    "values" real[],
    varied jsonb DEFAULT headbook.no_values() NOT NULL,
    CONSTRAINT score_varied_check CHECK (
CASE
    WHEN (((varied - 'of'::text) - 'variant'::text) = '{}'::jsonb) THEN (condition = (COALESCE((varied ->> 'of'::text), ''::text) || COALESCE(('/'::text || (varied ->> 'variant'::text)), ''::text)))
    ELSE (POSITION(('='::text) IN (condition)) > 0)
END)
);

COMMENT ON TABLE headbook.score IS 'One metric of one component in one run.';

COMMENT ON COLUMN headbook.score.run_id IS 'The run.';

COMMENT ON COLUMN headbook.score.component_id IS 'The component.';

COMMENT ON COLUMN headbook.score.metric IS 'Name of the metric.';

COMMENT ON COLUMN headbook.score.site IS 'Named activation, or empty.';

COMMENT ON COLUMN headbook.score.condition IS 'What else was varied, or empty.';

COMMENT ON COLUMN headbook.score.x IS 'Coordinate, e.g. a rank; else 0.';

COMMENT ON COLUMN headbook.score.n IS 'Prompts that count.';

COMMENT ON COLUMN headbook.score.skipped IS 'Prompts that were skipped.';

COMMENT ON COLUMN headbook.score.mean IS 'Mean over prompts.';

COMMENT ON COLUMN headbook.score.sem IS 'Standard error of the mean, prompts of one item taken together.';

COMMENT ON COLUMN headbook.score.ci_low IS 'Lower end of the 95 % interval over items.';

COMMENT ON COLUMN headbook.score.ci_high IS 'Upper end of the 95 % interval over items.';

COMMENT ON COLUMN headbook.score."values" IS 'One value per prompt, in the order of the distribution''s prompts; NULL inside: skipped; NULL as a whole: a number about the run, such as the size of a set.';

COMMENT ON COLUMN headbook.score.varied IS 'What condition says: values by name.';

CREATE TABLE headbook.study (
    id uuid NOT NULL,
    name text NOT NULL,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT study_created_by_check CHECK ((((char_length(created_by) >= 1) AND (char_length(created_by) <= 200)) AND (created_by !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text))),
    CONSTRAINT study_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text)))
);

COMMENT ON TABLE headbook.study IS 'A group of runs that were queued together.';

COMMENT ON COLUMN headbook.study.id IS 'Name of the study on the wire.';

COMMENT ON COLUMN headbook.study.name IS 'What people call it.';

COMMENT ON COLUMN headbook.study.created_by IS 'Who queued its first run.';

COMMENT ON COLUMN headbook.study.created_at IS 'When it was made.';

CREATE TABLE headbook.study_run (
    study_id uuid NOT NULL,
    run_id uuid NOT NULL
);

COMMENT ON TABLE headbook.study_run IS 'Which runs belong to which studies.';

COMMENT ON COLUMN headbook.study_run.study_id IS 'The study.';

COMMENT ON COLUMN headbook.study_run.run_id IS 'The run.';

CREATE TABLE headbook.tensor (
    run_id uuid NOT NULL,
    name text NOT NULL,
    axes text[] NOT NULL,
    coordinates jsonb NOT NULL,
    dtype text NOT NULL,
    shape integer[] NOT NULL,
    sha256 text NOT NULL,
    size_bytes bigint NOT NULL,
    mlflow_path text NOT NULL
);

COMMENT ON TABLE headbook.tensor IS 'A stored array: what it is, and where its bytes lie.';

COMMENT ON COLUMN headbook.tensor.run_id IS 'The run.';

COMMENT ON COLUMN headbook.tensor.name IS 'Name of the tensor.';

COMMENT ON COLUMN headbook.tensor.axes IS 'Name of each axis; prompt first.';

COMMENT ON COLUMN headbook.tensor.coordinates IS 'What lies along an axis, by axis name.';

COMMENT ON COLUMN headbook.tensor.dtype IS 'NumPy''s name of the dtype.';

COMMENT ON COLUMN headbook.tensor.shape IS 'Length of each axis.';

COMMENT ON COLUMN headbook.tensor.sha256 IS 'Hash of the stored file; a reader checks it.';

COMMENT ON COLUMN headbook.tensor.size_bytes IS 'Size of the stored file.';

COMMENT ON COLUMN headbook.tensor.mlflow_path IS 'Path among the MLflow run''s artifacts.';

CREATE TABLE headbook.view_file (
    name text NOT NULL,
    sha256 text NOT NULL
);

COMMENT ON TABLE headbook.view_file IS 'A view that an upgrade has made from a file.';

COMMENT ON COLUMN headbook.view_file.name IS 'Name of the view in schema results.';

COMMENT ON COLUMN headbook.view_file.sha256 IS 'Of the file in migrations/views that it was made from; empty: of none.';

CREATE TABLE headbook.worker (
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    device text NOT NULL,
    loaded_model text,
    busy_with text,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_seen timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    stopped_at timestamp with time zone,
    devices jsonb,
    spreads boolean DEFAULT false NOT NULL,
    memory bigint,
    only_above bigint,
    host_memory bigint,
    CONSTRAINT worker_names_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 300)) AND (name !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text) AND ((char_length(host) >= 1) AND (char_length(host) <= 255)) AND (host !~ '[\x01-\x1f\x7f-\xa0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]'::text)))
);

COMMENT ON TABLE headbook.worker IS 'A worker process that has been seen.';

COMMENT ON COLUMN headbook.worker.name IS 'host:pid, and a few letters that no other worker has.';

COMMENT ON COLUMN headbook.worker.host IS 'Host it runs on.';

COMMENT ON COLUMN headbook.worker.pid IS 'Process id on that host.';

COMMENT ON COLUMN headbook.worker.device IS 'Device it computes on, e.g. cpu or cuda:0.';

COMMENT ON COLUMN headbook.worker.loaded_model IS 'Name of the model in its memory.';

COMMENT ON COLUMN headbook.worker.busy_with IS 'Id of the run it works on; NULL: idle.';

COMMENT ON COLUMN headbook.worker.started_at IS 'When it started.';

COMMENT ON COLUMN headbook.worker.last_seen IS 'Its last sign of life.';

COMMENT ON COLUMN headbook.worker.stopped_at IS 'When it said that it stops.';

COMMENT ON COLUMN headbook.worker.devices IS 'Its devices: kind, name, memory in bytes, uuid; NULL: not known.';

COMMENT ON COLUMN headbook.worker.spreads IS 'Whether one model may lie on all of its devices.';

COMMENT ON COLUMN headbook.worker.memory IS 'Bytes that a model and its recordings may take; NULL: not known.';

COMMENT ON COLUMN headbook.worker.only_above IS 'It takes only runs that need more bytes than this; NULL: all.';

COMMENT ON COLUMN headbook.worker.host_memory IS 'Bytes that its processes may take of the host; NULL: not known.';

CREATE VIEW results.distributions AS
 SELECT id AS distribution_id,
    name,
    hash,
    size,
    spec AS recipe,
    created_at,
    ( SELECT count(*) AS count
           FROM headbook.run
          WHERE (run.distribution_id = distribution.id)) AS runs
   FROM headbook.distribution;

COMMENT ON VIEW results.distributions IS 'Every prompt distribution that a run has used: a recipe that yields the same prompts each time.';

COMMENT ON COLUMN results.distributions.distribution_id IS 'Number of the distribution; joins results.runs. A higher one was used later for the first time.';

COMMENT ON COLUMN results.distributions.name IS 'data/template/labels, or data/counterfactual of completions; recipe has the rest.';

COMMENT ON COLUMN results.distributions.hash IS 'sha256 over recipe, items, template and prompts; equal hashes mean the same prompts.';

COMMENT ON COLUMN results.distributions.size IS 'Number of prompts.';

COMMENT ON COLUMN results.distributions.recipe IS 'All that decides the prompts: split, seed, shots, options, separators and so on.';

COMMENT ON COLUMN results.distributions.created_at IS 'When it was first used.';

COMMENT ON COLUMN results.distributions.runs IS 'Number of runs over it, in any state.';

CREATE VIEW results.head_scores WITH (security_barrier='true') AS
 SELECT score.run_id,
    run.analysis,
    run.analysis_version,
    model.name AS model,
    model.revision AS model_revision,
    model.dtype,
    distribution.name AS distribution,
    distribution.hash AS distribution_hash,
    run.params,
    run.seed,
    component.layer,
    component.index AS head,
    score.metric,
    score.site,
    score.condition,
    score.x,
    score.n,
    score.skipped,
    score.mean,
    score.sem,
    score.ci_low,
    score.ci_high,
    run.created_by,
    run.finished_at,
    distribution.spec AS recipe,
    score.varied
   FROM ((((headbook.score
     JOIN headbook.component ON ((component.id = score.component_id)))
     JOIN headbook.run ON ((run.id = score.run_id)))
     JOIN headbook.model ON ((model.id = run.model_id)))
     JOIN headbook.distribution ON ((distribution.id = run.distribution_id)))
  WHERE ((component.kind = 'head'::text) AND (run.state = 'succeeded'::text));

COMMENT ON VIEW results.head_scores IS 'Every score of every attention head in every run that succeeded.';

COMMENT ON COLUMN results.head_scores.run_id IS 'The run the score comes from.';

COMMENT ON COLUMN results.head_scores.analysis IS 'Name of the analysis.';

COMMENT ON COLUMN results.head_scores.analysis_version IS 'Its version; numbers of different versions are not comparable.';

COMMENT ON COLUMN results.head_scores.model IS 'Name of the model.';

COMMENT ON COLUMN results.head_scores.model_revision IS 'Revision of the model.';

COMMENT ON COLUMN results.head_scores.dtype IS 'Type of the weights in memory.';

COMMENT ON COLUMN results.head_scores.distribution IS 'Name of the prompt distribution: data/template/labels, or data/counterfactual; recipe has the rest.';

COMMENT ON COLUMN results.head_scores.distribution_hash IS 'Hash of the prompt distribution; equal hashes mean the same prompts.';

COMMENT ON COLUMN results.head_scores.params IS 'Parameters of the analysis.';

COMMENT ON COLUMN results.head_scores.seed IS 'Seed of the bootstrap.';

COMMENT ON COLUMN results.head_scores.layer IS 'Layer of the head, from 0.';

COMMENT ON COLUMN results.head_scores.head IS 'Index of the head in its layer, from 0.';

COMMENT ON COLUMN results.head_scores.metric IS 'Name of the metric, e.g. logit_attribution.';

COMMENT ON COLUMN results.head_scores.site IS 'Named activation, or empty.';

COMMENT ON COLUMN results.head_scores.condition IS 'What else was varied, or empty.';

COMMENT ON COLUMN results.head_scores.x IS 'Coordinate, e.g. a rank, which may be 0; also 0 for what has none.';

COMMENT ON COLUMN results.head_scores.n IS 'Prompts that count.';

COMMENT ON COLUMN results.head_scores.skipped IS 'Prompts that were skipped.';

COMMENT ON COLUMN results.head_scores.mean IS 'Mean over prompts.';

COMMENT ON COLUMN results.head_scores.sem IS 'Standard error of the mean.';

COMMENT ON COLUMN results.head_scores.ci_low IS 'Lower end of the 95 % interval over items; NULL where one item counts, or where the page of analyses says why there is none.';

COMMENT ON COLUMN results.head_scores.ci_high IS 'Upper end of the 95 % interval over items; NULL where one item counts, or where the page of analyses says why there is none.';

COMMENT ON COLUMN results.head_scores.created_by IS 'Who queued the run.';

COMMENT ON COLUMN results.head_scores.finished_at IS 'When the run ended.';

COMMENT ON COLUMN results.head_scores.recipe IS 'All that decides the prompts: split, seed, shots, options, separators and so on.';

COMMENT ON COLUMN results.head_scores.varied IS 'What condition says, values by name: varied ->> ''placebo'' = ''random''.';

CREATE VIEW results.model_renamings AS
 SELECT at,
    renamed_by,
    old_name,
    new_name
   FROM headbook.model_renaming;

COMMENT ON VIEW results.model_renamings IS 'Names of models that became others, and when.';

COMMENT ON COLUMN results.model_renamings.at IS 'When, by the clock of this database.';

COMMENT ON COLUMN results.model_renamings.renamed_by IS 'Who renamed them.';

COMMENT ON COLUMN results.model_renamings.old_name IS 'What they were called.';

COMMENT ON COLUMN results.model_renamings.new_name IS 'What they are called from then on, in runs of before as well.';

CREATE VIEW results.models AS
 SELECT id AS model_id,
    name,
    revision,
    dtype,
    fingerprint,
    family,
    n_layers,
    n_heads,
    n_kv_heads,
    d_model,
    d_head,
    d_vocab,
    shapes,
    created_at
   FROM headbook.model;

COMMENT ON VIEW results.models IS 'Every language model at a revision, in the dtype it is run with.';

COMMENT ON COLUMN results.models.model_id IS 'Number of the model; joins results.runs.';

COMMENT ON COLUMN results.models.name IS 'What people call it; several revisions or dtypes may share a name.';

COMMENT ON COLUMN results.models.revision IS 'For local files the first 40 hex digits of the fingerprint.';

COMMENT ON COLUMN results.models.dtype IS 'Type of the weights in memory, e.g. float32.';

COMMENT ON COLUMN results.models.fingerprint IS 'sha256 over config, tokenizer and the bytes of the weights.';

COMMENT ON COLUMN results.models.family IS 'Architecture, e.g. llama.';

COMMENT ON COLUMN results.models.n_layers IS 'Number of transformer layers.';

COMMENT ON COLUMN results.models.n_heads IS 'Attention heads of the layer with most.';

COMMENT ON COLUMN results.models.n_kv_heads IS 'Key-value heads of the layer with most.';

COMMENT ON COLUMN results.models.d_model IS 'Width of the residual stream.';

COMMENT ON COLUMN results.models.d_head IS 'Width of the widest head''s queries and keys.';

COMMENT ON COLUMN results.models.d_vocab IS 'Size of the vocabulary, in tokens.';

COMMENT ON COLUMN results.models.shapes IS 'Each layer as it ran: n_heads, n_kv_heads, d_qk, d_v, before_rotary; NULL until it has run.';

COMMENT ON COLUMN results.models.created_at IS 'When it was added.';

CREATE VIEW results.run_events AS
 SELECT run_id,
    seq,
    at,
    part,
    event,
    epoch,
    worker,
    reason
   FROM headbook.run_event;

COMMENT ON VIEW results.run_events IS 'What happened to each run and to its parts.';

COMMENT ON COLUMN results.run_events.run_id IS 'The run; joins results.runs.';

COMMENT ON COLUMN results.run_events.seq IS 'Order of events.';

COMMENT ON COLUMN results.run_events.at IS 'When, by the clock of this database.';

COMMENT ON COLUMN results.run_events.part IS 'The part it happened to; NULL: the run itself.';

COMMENT ON COLUMN results.run_events.event IS 'The state that was entered.';

COMMENT ON COLUMN results.run_events.epoch IS 'Epoch of the part after it; rises when a part is claimed, released or taken back.';

COMMENT ON COLUMN results.run_events.worker IS 'The worker that holds or held the part.';

COMMENT ON COLUMN results.run_events.reason IS 'Why, in words.';

CREATE VIEW results.run_inputs AS
 SELECT run.id AS run_id,
    run.analysis,
    run_input.name,
    needed.id AS input_run_id,
    needed.analysis AS input_analysis,
    needed.state AS input_state
   FROM ((headbook.run_input
     JOIN headbook.run ON ((run.id = run_input.run_id)))
     JOIN headbook.run needed ON ((needed.id = run_input.needs_run_id)));

COMMENT ON VIEW results.run_inputs IS 'Which run reads the results of which other, to join the scores of both.';

COMMENT ON COLUMN results.run_inputs.run_id IS 'The run that reads the result of another.';

COMMENT ON COLUMN results.run_inputs.analysis IS 'Name of its analysis.';

COMMENT ON COLUMN results.run_inputs.name IS 'What it calls the result.';

COMMENT ON COLUMN results.run_inputs.input_run_id IS 'The run whose result it reads; its scores are in head_scores.';

COMMENT ON COLUMN results.run_inputs.input_analysis IS 'Name of the analysis of that run.';

COMMENT ON COLUMN results.run_inputs.input_state IS 'How that run stands: queued, running, finishing, or how it ended.';

CREATE VIEW results.run_logs AS
 SELECT run.id AS run_id,
    run.analysis,
    said.at,
    said.seq,
    said.part,
    said.epoch,
    said.worker,
    said.level,
    said.line
   FROM (( SELECT run_log.run_id,
            run_log.at,
            run_log.seq,
            run_log.part,
            run_log.epoch,
            run_log.worker,
            run_log.level,
            run_log.line
           FROM headbook.run_log
        UNION ALL
         SELECT run_event.run_id,
            run_event.at,
            run_event.seq,
            run_event.part,
            run_event.epoch,
            run_event.worker,
            'event'::text,
            (run_event.event || COALESCE((': '::text || run_event.reason), ''::text))
           FROM headbook.run_event) said
     JOIN headbook.run ON ((run.id = said.run_id)));

COMMENT ON VIEW results.run_logs IS 'What happened to each run, and what was logged and printed while it was worked on.';

COMMENT ON COLUMN results.run_logs.run_id IS 'The run.';

COMMENT ON COLUMN results.run_logs.analysis IS 'Name of its analysis.';

COMMENT ON COLUMN results.run_logs.at IS 'When it happened or was said, by the clock of this database.';

COMMENT ON COLUMN results.run_logs.seq IS 'Order of events, and of lines, of the same time.';

COMMENT ON COLUMN results.run_logs.part IS 'The part of the run; NULL: the run itself.';

COMMENT ON COLUMN results.run_logs.epoch IS 'Epoch of the part; lines of an older claim are of a worker that lost the part.';

COMMENT ON COLUMN results.run_logs.worker IS 'The worker that held the part, or said the line.';

COMMENT ON COLUMN results.run_logs.level IS 'event: the run or a part moved; debug … critical: logged; stdout, stderr: printed.';

COMMENT ON COLUMN results.run_logs.line IS 'The state that was entered and why, or one line of what was said.';

CREATE VIEW results.runs AS
 SELECT run.id AS run_id,
    run.fingerprint,
    run.analysis,
    run.analysis_version,
    run.engine_version,
    run.params,
    run.seed,
    run.model_id,
    model.name AS model,
    model.revision AS model_revision,
    model.dtype,
    run.distribution_id,
    distribution.name AS distribution,
    distribution.hash AS distribution_hash,
    distribution.spec AS recipe,
    run.priority,
    run.state,
    COALESCE(( SELECT ((('waiting: needs '::text ||
                CASE
                    WHEN (run.refused_memory >= COALESCE(run.needs_memory, (0)::bigint)) THEN ('more than '::text || pg_size_pretty(run.refused_memory))
                    ELSE pg_size_pretty(run.needs_memory)
                END) || '; the largest worker has '::text) || pg_size_pretty(max(worker.memory)))
           FROM headbook.worker
          WHERE ((run.state = ANY (ARRAY['queued'::text, 'running'::text])) AND (worker.stopped_at IS NULL) AND (worker.last_seen > (statement_timestamp() - '00:01:00'::interval)))
         HAVING (NOT bool_or((COALESCE((run.needs_memory <= worker.memory), true) AND COALESCE((run.refused_memory < worker.memory), true))))),
        CASE
            WHEN ((model.proof = ANY (ARRAY['unproved'::text, 'proving'::text])) AND (run.finished_at IS NULL)) THEN ('waiting: its model is not proved yet'::text || COALESCE(((' ('::text || model.proof_reason) || ')'::text), ''::text))
            ELSE NULL::text
        END, run.reason, ( SELECT ('waiting for run '::text || string_agg(((("left"((needed.id)::text, 8) || ' ('::text) || needed.analysis) || ')'::text), ', '::text ORDER BY run_input.name))
           FROM (headbook.run_input
             JOIN headbook.run needed ON ((needed.id = run_input.needs_run_id)))
          WHERE ((run_input.run_id = run.id) AND (needed.finished_at IS NULL)))) AS reason,
    run.n_prompts,
    ( SELECT COALESCE(sum(part.done), (0)::bigint) AS "coalesce"
           FROM headbook.part
          WHERE (part.run_id = run.id)) AS done,
    run.attempt,
    run.max_attempts,
    run.created_by,
    run.created_at,
    run.started_at,
    run.cancel_requested_at,
    run.finished_at,
    (publication.state = 'published'::text) AS published,
    publication.error AS publication_error,
    publication.mlflow_experiment_id,
    publication.mlflow_run_id,
    run.notes,
    run.provenance
   FROM (((headbook.run
     LEFT JOIN headbook.model ON ((model.id = run.model_id)))
     LEFT JOIN headbook.distribution ON ((distribution.id = run.distribution_id)))
     LEFT JOIN headbook.publication ON ((publication.run_id = run.id)));

COMMENT ON VIEW results.runs IS 'Every run: what it was asked to do, and how it stands.';

COMMENT ON COLUMN results.runs.run_id IS 'Id of the run.';

COMMENT ON COLUMN results.runs.fingerprint IS 'Hash of all that the numbers depend on; equal only for runs that repeat each other.';

COMMENT ON COLUMN results.runs.analysis IS 'Name of the analysis.';

COMMENT ON COLUMN results.runs.analysis_version IS 'Its version; numbers of different versions are not comparable.';

COMMENT ON COLUMN results.runs.engine_version IS 'Version of what recorded the model; numbers of different versions are not comparable.';

COMMENT ON COLUMN results.runs.params IS 'Parameters of the analysis, all of them.';

COMMENT ON COLUMN results.runs.seed IS 'Seed of the bootstrap.';

COMMENT ON COLUMN results.runs.model_id IS 'The model; joins results.models.';

COMMENT ON COLUMN results.runs.model IS 'Name of the model.';

COMMENT ON COLUMN results.runs.model_revision IS 'Revision of the model.';

COMMENT ON COLUMN results.runs.dtype IS 'Type of the weights in memory, e.g. float32.';

COMMENT ON COLUMN results.runs.distribution_id IS 'The prompt distribution; joins results.distributions.';

COMMENT ON COLUMN results.runs.distribution IS 'Name of the prompt distribution: data/template/labels, or data/counterfactual; recipe has the rest.';

COMMENT ON COLUMN results.runs.distribution_hash IS 'Hash of the prompt distribution; equal hashes mean the same prompts.';

COMMENT ON COLUMN results.runs.recipe IS 'All that decides the prompts: split, seed, shots, options, separators and so on.';

COMMENT ON COLUMN results.runs.priority IS '0 now, 3 normal, 9 later: lower is earlier.';

COMMENT ON COLUMN results.runs.state IS 'queued, running, finishing, or how it ended: succeeded, failed, cancelled.';

COMMENT ON COLUMN results.runs.reason IS 'Why it failed or what it waits for, in words.';

COMMENT ON COLUMN results.runs.n_prompts IS 'Prompts to measure.';

COMMENT ON COLUMN results.runs.done IS 'Prompts measured so far, from 0 to n_prompts.';

COMMENT ON COLUMN results.runs.attempt IS 'Which try this is, from 1.';

COMMENT ON COLUMN results.runs.max_attempts IS 'Tries before it fails.';

COMMENT ON COLUMN results.runs.created_by IS 'Who queued it.';

COMMENT ON COLUMN results.runs.created_at IS 'When it was queued, by the clock of this database.';

COMMENT ON COLUMN results.runs.started_at IS 'When its first part was claimed.';

COMMENT ON COLUMN results.runs.cancel_requested_at IS 'When a person cancelled it.';

COMMENT ON COLUMN results.runs.finished_at IS 'When it ended; NULL while it has not.';

COMMENT ON COLUMN results.runs.published IS 'Whether MLflow shows it as it is here.';

COMMENT ON COLUMN results.runs.publication_error IS 'Why MLflow does not show it yet, where a try has failed.';

COMMENT ON COLUMN results.runs.mlflow_experiment_id IS 'Id of its experiment in MLflow.';

COMMENT ON COLUMN results.runs.mlflow_run_id IS 'Id of its run in MLflow.';

COMMENT ON COLUMN results.runs.notes IS 'Conventions of the analysis, what its scores mean, and warnings about the numbers.';

COMMENT ON COLUMN results.runs.provenance IS 'Code version, library versions, device, dtype and flags it was measured with.';

CREATE VIEW results.scores AS
 SELECT score.run_id,
    component.kind,
    component.layer,
    component.index,
    score.metric,
    score.site,
    score.condition,
    score.x,
    score.n,
    score.skipped,
    score.mean,
    score.sem,
    score.ci_low,
    score.ci_high,
    score.varied
   FROM (headbook.score
     JOIN headbook.component ON ((component.id = score.component_id)));

COMMENT ON VIEW results.scores IS 'Every score of every component: heads as in head_scores, and MLPs, layers, the whole model. Runs that have not succeeded have none. docs/analyses.md says of each metric what it means, its unit, and whether higher or lower is better.';

COMMENT ON COLUMN results.scores.run_id IS 'The run the score comes from; joins results.runs.';

COMMENT ON COLUMN results.scores.kind IS 'What is scored: model, head, kv_head, mlp, attn, embed, attn_bias, unembed or set.';

COMMENT ON COLUMN results.scores.layer IS 'Layer, from 0; -1 for what has no layer.';

COMMENT ON COLUMN results.scores.index IS 'Index in the layer, from 0; -1 for what has none.';

COMMENT ON COLUMN results.scores.metric IS 'Name of the metric, e.g. logit_attribution.';

COMMENT ON COLUMN results.scores.site IS 'Named activation, or empty.';

COMMENT ON COLUMN results.scores.condition IS 'What else was varied, or empty.';

COMMENT ON COLUMN results.scores.x IS 'Coordinate, e.g. a rank, which may be 0; also 0 for what has none.';

COMMENT ON COLUMN results.scores.n IS 'Prompts that count.';

COMMENT ON COLUMN results.scores.skipped IS 'Prompts that were skipped.';

COMMENT ON COLUMN results.scores.mean IS 'Mean over prompts, in the unit of the metric; NULL where no prompt counts.';

COMMENT ON COLUMN results.scores.sem IS 'Standard error of the mean, in the same unit, prompts of one item taken together.';

COMMENT ON COLUMN results.scores.ci_low IS 'Lower end of the 95 % interval over items; NULL where one item counts, or where the page of analyses says why there is none.';

COMMENT ON COLUMN results.scores.ci_high IS 'Upper end of the 95 % interval over items; NULL where one item counts, or where the page of analyses says why there is none.';

COMMENT ON COLUMN results.scores.varied IS 'What condition says, values by name: varied ->> ''placebo'' = ''random''.';

CREATE VIEW results.study_runs AS
 SELECT study.id AS study_id,
    study.name AS study,
    study.created_at AS study_created_at,
    study_run.run_id
   FROM (headbook.study
     JOIN headbook.study_run ON ((study_run.study_id = study.id)));

COMMENT ON VIEW results.study_runs IS 'Which runs belong to which study, a group of runs that people look at together.';

COMMENT ON COLUMN results.study_runs.study_id IS 'Id of the study.';

COMMENT ON COLUMN results.study_runs.study IS 'Name of the study.';

COMMENT ON COLUMN results.study_runs.study_created_at IS 'When its first run was queued.';

COMMENT ON COLUMN results.study_runs.run_id IS 'A run of the study; joins results.runs.';

ALTER TABLE ONLY headbook.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY headbook.component
    ADD CONSTRAINT component_model_id_kind_layer_index_key UNIQUE (model_id, kind, layer, index);

ALTER TABLE ONLY headbook.component
    ADD CONSTRAINT component_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headbook.distribution
    ADD CONSTRAINT distribution_hash_key UNIQUE (hash);

ALTER TABLE ONLY headbook.distribution
    ADD CONSTRAINT distribution_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headbook.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (distribution_id, key);

ALTER TABLE ONLY headbook.model
    ADD CONSTRAINT model_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headbook.model
    ADD CONSTRAINT model_ref_revision_dtype_key UNIQUE (ref, revision, dtype);

ALTER TABLE ONLY headbook.model_renaming
    ADD CONSTRAINT model_renaming_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY headbook.part
    ADD CONSTRAINT part_pkey PRIMARY KEY (run_id, number);

ALTER TABLE ONLY headbook.part_score
    ADD CONSTRAINT part_score_pkey PRIMARY KEY (run_id, part, component_id, metric, site, condition, x);

ALTER TABLE ONLY headbook.part_tensor_chunk
    ADD CONSTRAINT part_tensor_chunk_pkey PRIMARY KEY (run_id, part, epoch, name, number);

ALTER TABLE ONLY headbook.part_tensor
    ADD CONSTRAINT part_tensor_pkey PRIMARY KEY (run_id, part, name);

ALTER TABLE ONLY headbook.prompt_pair
    ADD CONSTRAINT prompt_pair_pkey PRIMARY KEY (distribution_id, number, kind, seed);

ALTER TABLE ONLY headbook.prompt
    ADD CONSTRAINT prompt_pkey PRIMARY KEY (distribution_id, number);

ALTER TABLE ONLY headbook.publication
    ADD CONSTRAINT publication_pkey PRIMARY KEY (run_id);

ALTER TABLE ONLY headbook.run_event
    ADD CONSTRAINT run_event_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY headbook.run_input
    ADD CONSTRAINT run_input_pkey PRIMARY KEY (run_id, name);

ALTER TABLE ONLY headbook.run_log
    ADD CONSTRAINT run_log_pkey PRIMARY KEY (seq);

ALTER TABLE ONLY headbook.run
    ADD CONSTRAINT run_nonce_key UNIQUE (nonce);

ALTER TABLE ONLY headbook.run
    ADD CONSTRAINT run_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headbook.score
    ADD CONSTRAINT score_pkey PRIMARY KEY (run_id, component_id, metric, site, condition, x);

ALTER TABLE ONLY headbook.study
    ADD CONSTRAINT study_name_key UNIQUE (name);

ALTER TABLE ONLY headbook.study
    ADD CONSTRAINT study_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headbook.study_run
    ADD CONSTRAINT study_run_pkey PRIMARY KEY (study_id, run_id);

ALTER TABLE ONLY headbook.tensor
    ADD CONSTRAINT tensor_pkey PRIMARY KEY (run_id, name);

ALTER TABLE ONLY headbook.view_file
    ADD CONSTRAINT view_file_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headbook.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (name);

CREATE INDEX model_name_idx ON headbook.model USING btree (name);

CREATE INDEX model_unproved ON headbook.model USING btree (id) WHERE (proof = ANY (ARRAY['unproved'::text, 'proving'::text]));

CREATE INDEX part_running ON headbook.part USING btree (run_id) WHERE (state = 'running'::text);

CREATE INDEX publication_due ON headbook.publication USING btree (due_at) WHERE ((state = 'pending'::text) AND (due_at IS NOT NULL));

CREATE INDEX run_created_at_idx ON headbook.run USING btree (created_at);

CREATE INDEX run_due ON headbook.run USING btree (priority, dispatch_due_at) WHERE (state = ANY (ARRAY['finishing'::text, 'queued'::text, 'running'::text]));

CREATE INDEX run_event_run_id_seq_idx ON headbook.run_event USING btree (run_id, seq);

CREATE INDEX run_fingerprint_idx ON headbook.run USING btree (fingerprint);

CREATE UNIQUE INDEX run_fingerprint_once ON headbook.run USING btree (fingerprint) WHERE ((state <> ALL (ARRAY['failed'::text, 'cancelled'::text])) AND (rerun_of IS NULL));

CREATE INDEX run_input_needs_run_id_idx ON headbook.run_input USING btree (needs_run_id);

CREATE INDEX run_log_run_id_seq_idx ON headbook.run_log USING btree (run_id, seq);

CREATE INDEX run_queue ON headbook.run USING btree (priority, created_at) WHERE (state = ANY (ARRAY['finishing'::text, 'queued'::text, 'running'::text]));

CREATE INDEX run_queue_of_model ON headbook.run USING btree (model_id, priority, created_at) WHERE (state = ANY (ARRAY['finishing'::text, 'queued'::text, 'running'::text]));

CREATE INDEX score_component_id_metric_idx ON headbook.score USING btree (component_id, metric);

CREATE INDEX study_run_run_id_idx ON headbook.study_run USING btree (run_id);

CREATE TRIGGER guard_part BEFORE UPDATE ON headbook.part FOR EACH ROW EXECUTE FUNCTION headbook.guard_part();

CREATE TRIGGER guard_run BEFORE UPDATE ON headbook.run FOR EACH ROW EXECUTE FUNCTION headbook.guard_run();

CREATE TRIGGER make_publication_due AFTER UPDATE OF state ON headbook.run FOR EACH ROW WHEN ((new.state = ANY (ARRAY['cancelled'::text, 'failed'::text, 'succeeded'::text]))) EXECUTE FUNCTION headbook.make_publication_due();

CREATE TRIGGER note_part AFTER UPDATE ON headbook.part FOR EACH ROW EXECUTE FUNCTION headbook.note_part();

CREATE TRIGGER note_run AFTER INSERT OR UPDATE ON headbook.run FOR EACH ROW EXECUTE FUNCTION headbook.note_run();

ALTER TABLE ONLY headbook.component
    ADD CONSTRAINT component_model_id_fkey FOREIGN KEY (model_id) REFERENCES headbook.model(id);

ALTER TABLE ONLY headbook.item
    ADD CONSTRAINT item_distribution_id_fkey FOREIGN KEY (distribution_id) REFERENCES headbook.distribution(id);

ALTER TABLE ONLY headbook.part
    ADD CONSTRAINT part_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.part_score
    ADD CONSTRAINT part_score_component_id_fkey FOREIGN KEY (component_id) REFERENCES headbook.component(id);

ALTER TABLE ONLY headbook.part_score
    ADD CONSTRAINT part_score_run_id_part_fkey FOREIGN KEY (run_id, part) REFERENCES headbook.part(run_id, number);

ALTER TABLE ONLY headbook.part_tensor_chunk
    ADD CONSTRAINT part_tensor_chunk_run_id_part_fkey FOREIGN KEY (run_id, part) REFERENCES headbook.part(run_id, number);

ALTER TABLE ONLY headbook.part_tensor
    ADD CONSTRAINT part_tensor_run_id_part_fkey FOREIGN KEY (run_id, part) REFERENCES headbook.part(run_id, number);

ALTER TABLE ONLY headbook.prompt
    ADD CONSTRAINT prompt_distribution_id_fkey FOREIGN KEY (distribution_id) REFERENCES headbook.distribution(id);

ALTER TABLE ONLY headbook.prompt
    ADD CONSTRAINT prompt_distribution_id_item_key_fkey FOREIGN KEY (distribution_id, item_key) REFERENCES headbook.item(distribution_id, key);

ALTER TABLE ONLY headbook.prompt_pair
    ADD CONSTRAINT prompt_pair_distribution_id_fkey FOREIGN KEY (distribution_id, number) REFERENCES headbook.prompt(distribution_id, number);

ALTER TABLE ONLY headbook.publication
    ADD CONSTRAINT publication_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.run
    ADD CONSTRAINT run_distribution_id_fkey FOREIGN KEY (distribution_id) REFERENCES headbook.distribution(id);

ALTER TABLE ONLY headbook.run_event
    ADD CONSTRAINT run_event_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.run_input
    ADD CONSTRAINT run_input_needs_run_id_fkey FOREIGN KEY (needs_run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.run_input
    ADD CONSTRAINT run_input_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.run_log
    ADD CONSTRAINT run_log_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.run
    ADD CONSTRAINT run_model_id_fkey FOREIGN KEY (model_id) REFERENCES headbook.model(id);

ALTER TABLE ONLY headbook.run
    ADD CONSTRAINT run_rerun_of_fkey FOREIGN KEY (rerun_of) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.score
    ADD CONSTRAINT score_component_id_fkey FOREIGN KEY (component_id) REFERENCES headbook.component(id);

ALTER TABLE ONLY headbook.score
    ADD CONSTRAINT score_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.study_run
    ADD CONSTRAINT study_run_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

ALTER TABLE ONLY headbook.study_run
    ADD CONSTRAINT study_run_study_id_fkey FOREIGN KEY (study_id) REFERENCES headbook.study(id);

ALTER TABLE ONLY headbook.tensor
    ADD CONSTRAINT tensor_run_id_fkey FOREIGN KEY (run_id) REFERENCES headbook.run(id);

GRANT USAGE ON SCHEMA headbook TO headbook_worker;

GRANT USAGE ON SCHEMA results TO headbook_reader;
GRANT USAGE ON SCHEMA results TO headbook_worker;

REVOKE ALL ON FUNCTION headbook.no_values() FROM PUBLIC;
GRANT ALL ON FUNCTION headbook.no_values() TO headbook_worker;

GRANT SELECT ON TABLE headbook.alembic_version TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.component TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.distribution TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.item TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.model TO headbook_worker;

GRANT SELECT,INSERT ON TABLE headbook.model_renaming TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.part TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.part_score TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.part_tensor TO headbook_worker;

GRANT SELECT,INSERT,DELETE ON TABLE headbook.part_tensor_chunk TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.prompt TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.prompt_pair TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.publication TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.run TO headbook_worker;

GRANT SELECT,INSERT ON TABLE headbook.run_event TO headbook_worker;

GRANT SELECT,INSERT ON TABLE headbook.run_input TO headbook_worker;

GRANT SELECT,INSERT ON TABLE headbook.run_log TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.score TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.study TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.study_run TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.tensor TO headbook_worker;

GRANT SELECT ON TABLE headbook.view_file TO headbook_worker;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headbook.worker TO headbook_worker;

GRANT SELECT ON TABLE results.distributions TO headbook_reader;
GRANT SELECT ON TABLE results.distributions TO headbook_worker;

GRANT SELECT ON TABLE results.head_scores TO headbook_reader;
GRANT SELECT ON TABLE results.head_scores TO headbook_worker;

GRANT SELECT ON TABLE results.model_renamings TO headbook_reader;
GRANT SELECT ON TABLE results.model_renamings TO headbook_worker;

GRANT SELECT ON TABLE results.models TO headbook_reader;
GRANT SELECT ON TABLE results.models TO headbook_worker;

GRANT SELECT ON TABLE results.run_events TO headbook_reader;
GRANT SELECT ON TABLE results.run_events TO headbook_worker;

GRANT SELECT ON TABLE results.run_inputs TO headbook_reader;
GRANT SELECT ON TABLE results.run_inputs TO headbook_worker;

GRANT SELECT ON TABLE results.run_logs TO headbook_reader;
GRANT SELECT ON TABLE results.run_logs TO headbook_worker;

GRANT SELECT ON TABLE results.runs TO headbook_reader;
GRANT SELECT ON TABLE results.runs TO headbook_worker;

GRANT SELECT ON TABLE results.scores TO headbook_reader;
GRANT SELECT ON TABLE results.scores TO headbook_worker;

GRANT SELECT ON TABLE results.study_runs TO headbook_reader;
GRANT SELECT ON TABLE results.study_runs TO headbook_worker;
