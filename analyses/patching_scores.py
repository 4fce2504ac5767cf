"""What patching stores: its conventions, and the meaning of its scores and tensors."""

from analyses import position_maps
from analyses.quantities import Varied
from analyses.results import Kind
from analyses.stored import (
    LABEL_METRICS,
    NOOP_EFFECT,
    ScoreDescription,
    TensorDescription,
    differences,
    under,
)

GAP = Varied({"of": "source - base"})
OF_LAYERS = {"mlp_out": Kind.MLP, "attn_out": Kind.ATTN, "resid_pre": Kind.MODEL}
CONVENTIONS = {
    "position": "the last token of the prompt, patched from the last token of the source; or each "
    "option's token at `positions`, patched from the same option's token of the source; or a "
    "span's last token, patched from that of the same span of the source",
    "each": "every token alone, by its name: `start`, `start+1` … before the first span, `s1` or "
    "`s1[0]`, `s1[1]` … in a span, `s1+1` … after it, `end` for the final position; it is patched "
    "from the token of the same name, and prompts without one, or with a source without one, are "
    "skipped",
    "noise": "the run is on the prompt, the patches come from the source prompt",
    "denoise": "the run is on the source prompt, the patches come from the prompt",
    "labels": "those of the prompt and its answer, in both directions",
    "total_effect": "metric with the patch minus metric without; everything downstream reacts",
    "direct_effect": "the change of the output is added to the final residual; the layer's "
    "post-norm and the final norm are recomputed, nothing else reacts",
    "indirect_effect": "total minus direct",
    "base": "the recorded run; effects are measured against a replay without patches, so they do "
    "not include the rounding of replays",
    "moved": "mean total_effect over the mean of source minus base; with denoise it is the "
    "recovered share",
    "head": "z of the head, before its output matrix; it includes the value bias",
    "kv_head": "keys or values at `key_site`, as all heads of the group read them "
    "from the final position; no other position sees the change",
    "queries_and_keys": "as used by attention, after the rotary embedding",
    "mean": "over prompts of the train split if the prompts are the test split, else over the same "
    "prompts",
    "condition": "the metric that the effect is on",
}


PATCHED = (
    (Kind.HEAD, "z"),
    (Kind.MLP, "mlp_out"),
    (Kind.ATTN, "attn_out"),
    (Kind.HEAD, "q"),
    (Kind.KV_HEAD, "k"),
    (Kind.KV_HEAD, "v"),
    (Kind.MODEL, "resid_pre"),
)
MAPPED = tuple((OF_LAYERS[site], site) for site in position_maps.SITES)
OF_METRICS = tuple({"of": each.metric} for each in LABEL_METRICS)
AT_EACH = tuple({"of": metric, "at": "{position}"} for metric in position_maps.METRICS)
STORES = (
    ScoreDescription(
        metric="total_effect",
        meaning="the change of the metric named by the condition due to the patch, in its unit; "
        "everything downstream reacts",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="total_effect",
        meaning="the same for a patch at one position of a position map",
        where=MAPPED,
        varied=AT_EACH,
        sure=False,
    ),
    ScoreDescription(
        metric="direct_effect",
        meaning="the same if only the final norm and the unembedding react",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="indirect_effect",
        meaning="total_effect minus direct_effect",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="moved",
        meaning="mean total_effect over the mean of source minus base: the share of the gap that "
        "the component closes; missing if the gap may be zero, or without a source",
        unit="share",
        where=PATCHED,
        varied=OF_METRICS,
    ),
    ScoreDescription(
        metric="moved",
        meaning="the same for a patch at one position of a position map; the gap is that of the "
        "prompts that have the position",
        unit="share",
        where=MAPPED,
        varied=AT_EACH,
        sure=False,
    ),
    ScoreDescription(
        metric="position",
        meaning="where in the prompt a position of a position map is, in tokens from 0",
        unit="tokens",
        varied=({"at": "{position}"},),
        sure=False,
    ),
    *under(LABEL_METRICS, {"of": "base"}, {"of": "source"}),
    *differences(LABEL_METRICS, GAP),
    NOOP_EFFECT,
)
ARRAYS = (
    TensorDescription(
        name="patched_logits",
        axes=("prompt", "component", "label"),
        meaning="the logit of every label with the component patched (total effect); stored with "
        "the components' names, but not of a position map",
    ),
)
