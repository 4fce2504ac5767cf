CREATE OR REPLACE VIEW results.models AS
SELECT id AS model_id, name, revision, dtype, fingerprint, family,
       n_layers, n_heads, n_kv_heads, d_model, d_head, d_vocab, shapes, created_at
FROM headbook.model;

COMMENT ON VIEW results.models IS
  'Every language model at a revision, in the dtype it is run with.';
COMMENT ON COLUMN results.models.model_id IS 'Number of the model; joins results.runs.';
COMMENT ON COLUMN results.models.name IS
  'What people call it; several revisions or dtypes may share a name.';
COMMENT ON COLUMN results.models.revision IS
  'For local files the first 40 hex digits of the fingerprint.';
COMMENT ON COLUMN results.models.dtype IS 'Type of the weights in memory, e.g. float32.';
COMMENT ON COLUMN results.models.fingerprint IS
  'sha256 over config, tokenizer and the bytes of the weights.';
COMMENT ON COLUMN results.models.family IS 'Architecture, e.g. llama.';
COMMENT ON COLUMN results.models.n_layers IS 'Number of transformer layers.';
COMMENT ON COLUMN results.models.n_heads IS 'Attention heads of the layer with most.';
COMMENT ON COLUMN results.models.n_kv_heads IS 'Key-value heads of the layer with most.';
COMMENT ON COLUMN results.models.d_model IS 'Width of the residual stream.';
COMMENT ON COLUMN results.models.d_head IS 'Width of the widest head''s queries and keys.';
COMMENT ON COLUMN results.models.d_vocab IS 'Size of the vocabulary, in tokens.';
COMMENT ON COLUMN results.models.shapes IS
  'Each layer as it ran: n_heads, n_kv_heads, d_qk, d_v, before_rotary; NULL until it has run.';
COMMENT ON COLUMN results.models.created_at IS 'When it was added.';
