import pytest
import torch
from torch import nn
from transformers.models.cohere.modeling_cohere import CohereLayerNorm
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo.modeling_olmo import OlmoLayerNorm

from analyses.engine.norms import probe

D_MODEL = 12
NORMS = {
    "layer_norm": (lambda: nn.LayerNorm(D_MODEL, eps=1e-3), True, True, 1e-3),
    "without_bias": (lambda: nn.LayerNorm(D_MODEL, bias=False), True, False, 1e-5),
    "without_gain": (lambda: OlmoLayerNorm(D_MODEL), True, False, 1e-5),
    "cohere": (lambda: CohereLayerNorm(D_MODEL), True, False, 1e-5),
    "rms": (lambda: LlamaRMSNorm(D_MODEL, eps=1e-6), False, False, 1e-6),
    "rms_of_one_plus_gain": (lambda: Gemma2RMSNorm(D_MODEL, eps=1e-6), False, False, 1e-6),
    "odd_width": (lambda: nn.LayerNorm(11), True, True, 1e-5),
}


@pytest.fixture(params=NORMS)
def probed(request: pytest.FixtureRequest):
    make, centred, has_bias, epsilon = NORMS[request.param]
    torch.manual_seed(0)
    module = make()
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
        parameter.requires_grad_(False)
    d_model = 11 if request.param == "odd_width" else D_MODEL
    norm = probe(module, d_model, torch.device("cpu"))
    assert norm.centred is centred
    assert (norm.bias is not None) is has_bias
    assert norm.epsilon == pytest.approx(epsilon, rel=1e-3)
    return module, norm, d_model


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_the_formula_of_a_norm_is_the_norm(probed, size: float) -> None:
    module, norm, d_model = probed
    x = size * (1 + torch.randn(5, d_model))
    torch.testing.assert_close(norm(x), module(x), rtol=1e-4, atol=1e-5)


def test_at_a_frozen_scale_shares_add_up(probed) -> None:
    _, norm, d_model = probed
    parts = torch.randn(4, 5, d_model)
    scale = norm.scale(parts.sum(0))
    bias = 0.0 if norm.bias is None else norm.bias
    shares = norm.frozen(parts, scale[None]).sum(0) + bias
    torch.testing.assert_close(shares, norm(parts.sum(0)), rtol=1e-4, atol=1e-5)


def test_a_bias_that_is_zero_still_is_a_bias() -> None:
    assert probe(nn.LayerNorm(D_MODEL), D_MODEL, torch.device("cpu")).bias is not None
