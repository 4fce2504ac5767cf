"""The norm of what each head writes: an example of an analysis in a separate package."""

from typing import Literal

import numpy as np
from pydantic import Field

from headbook import (
    Component,
    Kind,
    Measured,
    Params,
    Quantity,
    ScoreDescription,
    ScoreKey,
    analysis,
)


class WriteNormsParams(Params):
    """Each field appears in the form, and on the command line as `-p NAME=VALUE`."""

    compared_with: Literal["resid_pre", "attn_out"] = Field(
        "resid_pre",
        title="Compared with",
        description="The residual that the layer reads, or the output of its whole attention.",
    )


WRITE_NORM = ScoreDescription(
    metric="write_norm",
    meaning="norm of what the head writes at the final position",
    unit="ratio to what it is compared with",
    where=((Kind.HEAD, "z"),),
)


# Raise the version whenever the numbers change: results of different versions are never mixed.
@analysis(
    "write_norms",
    version=1,
    params=WriteNormsParams,
    headline=Quantity("write_norm"),
    stores=[WRITE_NORM],
)
def write_norms(lm, prompts, params, progress):
    """How large each head's write is at the final position: the norm of z W_O."""
    from headbook.engine import attention_writes  # loads torch: only on workers

    batches = []  # of ratios [layer, head, prompt]
    for micro_batch in lm.micro_batches(prompts, params.batch_size):
        recorded = lm.record(lm.batch(micro_batch))
        ratios = []
        for anatomy, layer in zip(lm.anatomy.layers, recorded.layers, strict=True):
            heads = attention_writes(anatomy, layer, lm.anatomy.residual_multiplier).heads
            reference = getattr(layer, params.compared_with)
            ratios.append((heads.norm(dim=-1).T / reference.norm(dim=-1)).cpu().numpy())
        batches.append(np.stack(ratios))
        progress(sum(batch.shape[-1] for batch in batches))  # prompts measured so far
    values = np.concatenate(batches, axis=-1)
    return Measured(
        scores={
            ScoreKey(
                Component(kind=Kind.HEAD, layer=layer, index=head), Quantity("write_norm", "z")
            ): values[layer, head]
            for layer, head in np.ndindex(values.shape[:2])
        }
    )
