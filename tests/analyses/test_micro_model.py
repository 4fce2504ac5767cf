"""One layer whose numbers can be worked out on paper: what attribution and patching must say.

Four tokens, embedded as the unit vectors e0 … e3. Queries and keys are zero, so that every token
attends evenly to all before it. Head 0 hands on the first two dimensions, head 1 the last two. The
MLP is silent, and a token's logit is its dimension of the normed residual.

The prompt is the tokens 0 and 2. Each is normed to twice its unit vector, so the values of head 0
are (2, 0) and (0, 0), those of head 1 (0, 0) and (2, 0): at the final position both heads give
(1, 0). The residual e2 + (1, 0, 1, 0) = (1, 0, 2, 0) has the scale √(5/4). The labels are the
tokens 0 and 1, so the logit difference is 1/√(5/4).
"""

import numpy as np
import pytest
import torch
from studied import of, run
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.confined import SET
from analyses.language_model import LanguageModel
from analyses.methods.attribution import AttributionParams, attribution
from analyses.methods.patching import PatchingParams, patching
from analyses.methods.subspace import SubspaceParams, subspace
from analyses.prompts.examples import Content, Example
from analyses.prompts.question_places import OptionPlaces, QuestionPlaces
from analyses.results import MODEL, Component, Kind, NamedTensor, Result

SCALE = (5 / 4) ** 0.5
FIRST, SECOND = (Component(kind=Kind.HEAD, layer=0, index=index) for index in (0, 1))


@pytest.fixture
def lm(load) -> LanguageModel:
    config = LlamaConfig(
        vocab_size=4,
        hidden_size=4,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        rms_norm_eps=1e-12,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        silent = any(each in name for each in ("q_proj", "k_proj", "mlp"))
        value = torch.ones(4) if parameter.dim() == 1 else torch.eye(4)
        parameter.data = torch.zeros_like(parameter) if silent else value
    return load(model)


@pytest.fixture
def prompt() -> Example:
    places = [
        OptionPlaces(label=at, bracket=at, content_first=at, content_last=at, option_end=at)
        for at in (0, 1)
    ]
    return Example(
        number=0,
        item="only",
        input_ids=(0, 2),
        label_ids=(0, 1),
        correct=(0,),
        groups={},
        labels=("A", "B"),
        places=QuestionPlaces(
            number=0, question_first=0, question_last=0, options=tuple(places), final=1
        ),
        content=Content(context=(0,), options=((1,), (2,))),
        companions={},
    )


def test_attribution_is_what_each_head_writes_on_the_label(lm, prompt) -> None:
    found = run(attribution, lm, [prompt], AttributionParams())
    shares = {
        component: of(found, component=component, metric="logit_attribution").item()
        for component in (FIRST, SECOND, Component(kind=Kind.EMBED))
    }
    assert shares == {
        FIRST: pytest.approx(1 / SCALE),
        SECOND: 0,
        Component(kind=Kind.EMBED): 0,
    }
    whole = of(found, component=MODEL, metric="logit_diff").item()
    assert whole == pytest.approx(1 / SCALE)


def test_without_a_head_the_residual_is_shorter_too(lm, prompt) -> None:
    """Without head 0 it is (0, 0, 2, 0); without head 1 it is (1, 0, 1, 0), of scale √(1/2)."""
    found = run(patching, lm, [prompt], PatchingParams(source="zero"))
    for component, without in ((FIRST, 0.0), (SECOND, 1 / 0.5**0.5)):
        for effect in ("total_effect", "direct_effect"):
            change = of(found, component=component, metric=effect, site="z", condition="logit_diff")
            assert change.item() == pytest.approx(without - 1 / SCALE, abs=1e-6)


def test_a_head_that_reads_the_wrong_direction_gives_nothing(lm, prompt) -> None:
    """Values of head 0 lie along (1, 0). Along (0, 1) nothing is left of them."""
    right, wrong = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[:, ::-1]
    for basis, kept in ((right, 1 / SCALE), (wrong, 0.0)):
        params = SubspaceParams(heads=("0.0",), ranks=(1,), rotary="after")
        found = run(subspace, lm, [prompt], params, inputs={"bases": bases_of(basis)})
        for component in (FIRST, SET):
            left = of(found, component=component, metric="logit_diff", site="v", x=1)
            assert left.item() == pytest.approx(kept, abs=1e-6)
            queries = of(found, component=component, metric="logit_diff", site="qk", x=1)
            assert queries.item() == pytest.approx(1 / SCALE)  # they decide nothing here


def bases_of(basis: np.ndarray) -> Result:
    """Around a mean of zero, the same for every head and site."""
    mean = np.zeros((1, 2, 2), dtype=np.float32)
    every = np.broadcast_to(basis, (1, 2, 2, 2))
    tensors = {"z_mean": NamedTensor(mean, ("layer", "head", "d_head"))}
    for site in ("q", "k", "v"):
        axes = ("layer", "head", "d_head")
        tensors[f"{site}_mean"] = NamedTensor(mean, axes)
        tensors[f"{site}_basis"] = NamedTensor(every, (*axes, "rank"))
        tensors[f"{site}_other_basis"] = NamedTensor(every, (*axes, "rank"))
        tensors[f"{site}_rank"] = NamedTensor(np.full((1, 2), 2), axes[:2])
    return Result(scores={}, means={}, tensors=tensors)
