"""Any layer norm as a formula of centring, scale, gain and bias, found by probing the module."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

LARGE = 1e3  # a norm's epsilon is negligible next to its square
SMALL = 1e-6  # negligible next to the square root of epsilon


@dataclass(frozen=True, kw_only=True)
class Norm:
    """y = d · s · gain + bias; s = 1 / √(mean d² + ε), d = x − mean x if centred, else x.

    >>> norm = Norm(gain=torch.ones(2), bias=None, centred=True, epsilon=0.0)
    >>> norm(torch.tensor([1.0, 5.0]))
    tensor([-1.,  1.])
    """

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"] | None
    centred: bool
    epsilon: float

    def centre(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def scale(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch 1"]:
        """s(x), the one part of a norm that is not linear."""
        return (self.centre(x).square().mean(-1, keepdim=True) + self.epsilon).rsqrt()

    def frozen(
        self, x: Float[Tensor, "*batch d_model"], scale: Float[Tensor, "*#batch 1"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The norm at a given scale and without its bias: linear, so that shares of x add up."""
        return self.centre(x) * scale * self.gain

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        y = self.frozen(x, self.scale(x))
        return y if self.bias is None else y + self.bias


@torch.no_grad()
def probe(module: nn.Module, d_model: int, device: torch.device) -> Norm:
    """The formula of a norm, from the outputs of an fp32 copy for four inputs.

    A module of another form gives a wrong formula, which the closure check detects.
    """
    norm = copy.deepcopy(module).to(device=device, dtype=torch.float32)
    alternating = torch.ones(d_model, device=device)
    alternating[1::2] = -1.0
    at_zero = norm(torch.zeros(1, d_model, device=device))[0]
    at_large = norm(LARGE * alternating[None])[0] - at_zero
    at_equal = norm(torch.ones(1, d_model, device=device))[0] - at_zero
    centred = _is_centred(at_equal, at_large)
    form = Norm(gain=torch.ones_like(at_zero), bias=None, centred=centred, epsilon=0.0)
    small = SMALL * alternating
    gain = at_large / form(LARGE * alternating)
    return Norm(
        gain=gain,
        bias=None if _has_no_bias(module, at_zero) else at_zero,
        centred=centred,
        epsilon=_epsilon(norm(small[None])[0] - at_zero, form.centre(small), gain),
    )


def _is_centred(at_equal: Float[Tensor, " d_model"], at_large: Float[Tensor, " d_model"]) -> bool:
    """A centring norm maps a constant input to zero."""
    return bool(at_equal.abs().max() < 0.01 * at_large.abs().max())


def _has_no_bias(module: nn.Module, at_zero: Float[Tensor, " d_model"]) -> bool:
    """A bias of zeros counts as one: training may have left it at zero."""
    return len(list(module.parameters())) < 2 and not bool(at_zero.any())


def _epsilon(
    y: Float[Tensor, " d_model"], x: Float[Tensor, " d_model"], gain: Float[Tensor, " d_model"]
) -> float:
    """From y = x s gain: ε = 1/s² − mean x²."""
    linear = (x * gain).double()
    scale = float((y.double() @ linear) / linear.square().sum())
    return max(0.0, scale**-2 - float(x.double().square().mean())) if scale else 0.0
