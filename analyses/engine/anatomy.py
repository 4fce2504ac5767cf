"""The modules of a language model that write to the residual stream, and what scales them."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from analyses.checkpoints.shapes import LayerShape
from analyses.engine.norms import Norm
from analyses.engine.shared_keys import SharedKeys
from analyses.prompts.limits import Limits


@dataclass(frozen=True, kw_only=True)
class LayerAnatomy:
    """attn_out = m · norm(z W_O + b_O), with a norm only where a post-norm follows attention."""

    layer: nn.Module
    attention: nn.Module  # the module that calls the attention function
    out_proj: nn.Linear | Conv1D
    post_norm: nn.Module | None
    post_norm_formula: Norm | None
    mlp: tuple[nn.Module, ...]  # the sum of their outputs is the MLP's write
    shape: LayerShape
    shared: SharedKeys | None  # where it reads keys and values of layers below

    @property
    def attention_writer(self) -> nn.Module:
        """The module whose output is attention's write, before the residual multiplier."""
        return self.out_proj if self.post_norm is None else self.post_norm

    @property
    def W_O(self) -> Float[Tensor, "d_z d_model"]:
        """All heads' output matrices, one above the other, in fp32."""
        weight: Tensor = self.out_proj.weight.detach().float()
        return weight if isinstance(self.out_proj, Conv1D) else weight.T

    @property
    def b_O(self) -> Float[Tensor, " d_model"] | None:
        bias: Tensor | None = self.out_proj.bias
        return None if bias is None else bias.detach().float()

    @property
    def has_bias(self) -> bool:
        """Whether attention writes something that belongs to no head."""
        norm = self.post_norm_formula
        return self.out_proj.bias is not None or (norm is not None and norm.bias is not None)


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """logits = cap(k · (norm(resid) W_U + b_U))"""

    layers: tuple[LayerAnatomy, ...]
    limits: Limits
    residual_multiplier: float
    final_norm: Norm
    unembedding: nn.Linear
    logit_multiplier: float
    logit_cap: float | None

    @property
    def shared_layers(self) -> frozenset[int]:
        """The layers whose keys and values layers above read too."""
        mappings = (layer.shared for layer in self.layers if layer.shared is not None)
        return frozenset(number for shared in mappings for number in shared.layers.values())

    @property
    def has_unembed(self) -> bool:
        """Whether constants are added to the logits that are not in the residual."""
        return self.final_norm.bias is not None or self.unembedding.bias is not None

    def W_U(self, label_ids: Tensor) -> Float[Tensor, "*label d_model"]:
        """The unembedding's rows of these tokens, scaled as the logits are."""
        rows = self.unembedding.weight.detach()[label_ids.to(self.unembedding.weight.device)]
        return rows.to(label_ids.device, torch.float32) * self.logit_multiplier

    def b_U(self, label_ids: Tensor) -> Float[Tensor, "*label"]:
        bias = self.unembedding.bias
        if bias is None:
            return torch.zeros(label_ids.shape, device=label_ids.device)
        of_labels = bias.detach()[label_ids.to(bias.device)]
        return of_labels.to(label_ids.device, torch.float32) * self.logit_multiplier

    def cap(self, logits: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The final soft-cap of the logits; not linear."""
        if self.logit_cap is None:
            return logits
        return self.logit_cap * torch.tanh(logits / self.logit_cap)


def per_head(
    W_O: Float[Tensor, "d_z d_model"], n_heads: int
) -> Float[Tensor, "head d_head d_model"]:
    return rearrange(W_O, "(head d_head) d_model -> head d_head d_model", head=n_heads)
