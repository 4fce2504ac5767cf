"""Direct logit attribution: the direct contribution of each component to the label logits."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyses import effects, streaming
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Kind, Measured, NamedTensor, ScoreKey
from analyses.stored import LABEL_METRICS, ScoreDescription, TensorDescription

if TYPE_CHECKING:
    from analyses.language_model import LanguageModel
    from analyses.prompts.examples import Example

SHARES = (0.5, 0.8, 0.9)
ROUNDING = 1e-12  # so that eight of ten equal parts reach 80 %

CONVENTIONS = {
    "position": "the last token of the prompt",
    "head": "z W_O of the head; z includes the value bias, the output bias is attn_bias",
    "final_norm": "frozen at the scale of the full run",
    "post_norm": "frozen at the scale of the sum over heads",
    "soft_cap": "the logits before a final soft-cap are attributed",
    "logit_diff": "correct label minus the mean of the other labels",
    "smallest_set": "heads and MLPs with positive mean attribution, in descending order",
}


WRITERS = (Kind.EMBED, Kind.HEAD, Kind.ATTN_BIAS, Kind.MLP, Kind.UNEMBED)
STORES = (
    ScoreDescription(
        metric="logit_attribution",
        meaning="the component's direct contribution to logit_diff; all components add up to "
        "logit_diff_pre_cap",
        unit="logits",
        where=tuple((kind, "") for kind in WRITERS),
    ),
    *LABEL_METRICS,
    ScoreDescription(
        metric="logit_diff_pre_cap",
        meaning="logit_diff of the logits before a final soft-cap; this is what is attributed",
        unit="logits",
        better="high",
    ),
    ScoreDescription(
        metric="smallest_set",
        meaning="how many heads and MLPs together have the share x of all positive attribution",
        unit="components",
        x="share of the positive attribution: 0.5, 0.8, 0.9",
    ),
)
ARRAYS = (
    TensorDescription(
        name="label_attribution",
        axes=("prompt", "component", "label"),
        meaning="each component's contribution to the logit of each label, in the order of the "
        "options; stored with the components' names",
    ),
)


class AttributionParams(Params):
    """The method has no parameters of its own."""


def smallest_sets(
    means: Mapping[ScoreKey, float], params: AttributionParams
) -> Mapping[ScoreKey, float]:
    """How many heads and MLPs have 50, 80 and 90 % of the positive attribution, if there is any."""
    positive = np.array([value for key, value in means.items() if _counts(key) and value > 0])
    if not len(positive):
        return {}
    cumulative = np.cumsum(np.sort(positive)[::-1]) / positive.sum()
    return {
        ScoreKey(MODEL, Quantity("smallest_set"), x=share): float(
            1 + np.argmax(cumulative >= share - ROUNDING)
        )
        for share in SHARES
    }


def _counts(key: ScoreKey) -> bool:
    return key.quantity.metric == "logit_attribution" and key.component.kind in (
        Kind.HEAD,
        Kind.MLP,
    )


@analysis(
    "attribution",
    version=1,
    params=AttributionParams,
    conventions=CONVENTIONS,
    summarise=smallest_sets,
    headline=Quantity("logit_attribution"),
    stores=STORES,
    arrays=ARRAYS,
    plots={"strongest": "analyses.pictures.attribution:strongest"},
    reference="Lieberum et al. 2023, arXiv 2307.09458: logit attribution of output nodes; "
    "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
)
def attribution(
    lm: "LanguageModel",
    prompts: "Sequence[Example]",
    params: AttributionParams,
    progress: Callable[[int], None],
) -> Measured:
    """Each component's own share of the label logits (direct logit attribution).

    The final residual is the sum of the components' outputs, r = Σ_j w_j. With the final norm
    frozen at the scale σ of the full run, each label's logit is a sum over components too, and so
    is their difference:

        (r / σ) · u  =  Σ_j (w_j / σ) · u        u = W_U[correct] − mean of W_U[the other labels]

    Every layer is checked: its components must add up to what the model computed; a model that
    fails this check is refused.
    """
    return streaming.streamed(lm, prompts, params, progress, lambda batch: _measure(lm, batch))


def _measure(lm: "LanguageModel", prompts: "Sequence[Example]") -> Measured:
    from einops import einsum

    from analyses.engine.decomposition import components
    from analyses.metrics import contrast

    batch = lm.batch(prompts)
    recorded = lm.record(batch)
    shares = lm.decompose(recorded, batch.label_ids).shares
    u = contrast(batch.correct)
    differences = einsum(shares, u, "prompt component label, prompt label -> prompt component")
    of_model = {
        **effects.of_recording(recorded, batch),
        "logit_diff_pre_cap": differences.double().sum(-1).float().cpu().numpy(),
    }
    order = components(lm.anatomy)
    by_component = {
        ScoreKey(component, Quantity("logit_attribution")): values
        for component, values in zip(order, differences.T.cpu().numpy(), strict=True)
    }
    names = tuple(component.label for component in order)
    axes = ("prompt", "component", "label")
    return Measured(
        scores={ScoreKey(MODEL, Quantity(name)): each for name, each in of_model.items()}
        | by_component,
        tensors={
            "label_attribution": NamedTensor(shares.cpu().numpy(), axes, {"component": names})
        },
    )
