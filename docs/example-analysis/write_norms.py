"""How large each head's write is: an analysis of your own, in a package of your own."""

from typing import Literal

import numpy as np
from pydantic import Field

from headbook import Component, Kind, Measured, Params, Quantity, ScoreKey, Stored, analysis


class WriteNormsParams(Params):
    """Each is a field of the form, and `-p NAME=VALUE` of the command line."""

    compared_with: Literal["resid_pre", "attn_out"] = Field(
        "resid_pre",
        title="Compared with",
        description="The residual that the layer reads, or all that its attention writes.",
    )


WRITE_NORM = Stored(
    metric="write_norm",
    meaning="norm of what the head writes at the final position",
    unit="share of what it is compared with",
    where=((Kind.HEAD, "z"),),
)


# Raise the version whenever the numbers change: runs of different versions are never mixed.
@analysis(
    "write_norms",
    version=1,
    params=WriteNormsParams,
    headline=Quantity("write_norm"),
    stores=[WRITE_NORM],
)
def write_norms(lm, prompts, params, progress):
    """How large each head's write is at the final position: the norm of z W_O."""
    from headbook.engine import attention_writes  # loads torch: for workers only

    found = []  # of every batch [layer, head, prompt]
    for together in lm.micro_batches(prompts, params.batch_size):
        recorded = lm.record(lm.batch(together))
        shares = []
        for anatomy, layer in zip(lm.anatomy.layers, recorded.layers, strict=True):
            heads = attention_writes(anatomy, layer, lm.anatomy.residual_multiplier).heads
            whole = getattr(layer, params.compared_with)
            shares.append((heads.norm(dim=-1).T / whole.norm(dim=-1)).cpu().numpy())
        found.append(np.stack(shares))
        progress(sum(batch.shape[-1] for batch in found))
    values = np.concatenate(found, axis=-1)
    return Measured(
        scores={
            ScoreKey(
                Component(kind=Kind.HEAD, layer=layer, index=head), Quantity("write_norm", "z")
            ): values[layer, head]
            for layer, head in np.ndindex(values.shape[:2])
        }
    )
