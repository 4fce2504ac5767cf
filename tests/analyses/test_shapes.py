"""What is known of a model's sizes comes from how it ran, layer by layer and site by site."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from analyses.checkpoints.shapes import LayerShape, ModelShape
from analyses.confined import RankTooLarge
from analyses.engine import decomposition
from analyses.engine.interventions import ZERO, ImpossiblePatch, Intervention, Patch, Site
from analyses.engine.recording import Keep
from analyses.engine.tracing import find_anatomy
from analyses.heads import NoSuchHead
from analyses.language_model import LanguageModel
from analyses.methods import patching
from analyses.methods.bases import BasesParams, NotBeforeRotary, UnequalLayers
from analyses.methods.label_randomisation import LabelRandomisationParams
from analyses.methods.subspace import SubspaceParams
from analyses.prompts.spec import DistributionSpec
from analyses.results import Kind

IDS = [3, 1, 4, 15, 9, 2, 6]


def alike(n_layers: int, **shape: Any) -> tuple[LayerShape, ...]:
    return (LayerShape(**shape),) * n_layers


def test_grouped_queries_and_a_head_size_of_its_own(load) -> None:
    assert load("gemma2").shape == ModelShape(
        family="gemma2",
        d_model=32,
        d_vocab=60,
        layers=alike(2, n_heads=4, n_kv_heads=2, d_qk=16, d_v=16),
    )


def test_gpt2_calls_everything_differently(load) -> None:
    assert load("gpt2").shape == ModelShape(
        family="gpt2",
        d_model=32,
        d_vocab=60,
        layers=alike(2, n_heads=4, n_kv_heads=4, d_qk=8, d_v=8, before_rotary=False),
    )


@pytest.mark.parametrize(
    ("family", "known"),
    [("llama", True), ("gpt2", False), ("opt", False), ("deepseek_v3", False)],
)
def test_what_is_not_there_before_rotary_embedding_is_refused_at_submission(
    load, family: str, known: bool
) -> None:
    """Two have none, and one has two functions that rotate."""
    shape, spec = load(family).shape, DistributionSpec()
    assert {layer.before_rotary for layer in shape.layers} == {known}
    BasesParams(rotary="after").check(shape, spec)
    if known:
        BasesParams(rotary="before").check(shape, spec)
    else:
        with pytest.raises(NotBeforeRotary, match="Choose rotary=after"):
            BasesParams(rotary="before").check(shape, spec)


def test_multi_head_latent_attention_has_values_narrower_than_queries(load) -> None:
    """`head_dim` of its config is 8, the part of queries and keys that is rotated."""
    lm = load("deepseek_v3")
    assert lm.model.config.head_dim == 8
    assert lm.shape.layers == alike(
        2, n_heads=4, n_kv_heads=4, d_qk=12 + 8, d_v=16, before_rotary=False
    )
    assert [lm.shape.layers[0].width(site) for site in "qkvz"] == [20, 20, 16, 16]


def without(folder: Path, *names: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    for name in names:
        del config[name]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("family", "choices", "unsaid", "shape"),
    [
        ("mistral", {"num_attention_heads": 16}, "num_key_value_heads", (16, 8, 2)),
        ("gemma", {"num_key_value_heads": 1}, "head_dim", (4, 1, 256)),
        ("llama", {}, "num_key_value_heads", (4, 4, 8)),
    ],
    ids=["mistral", "gemma", "llama"],
)
def test_what_a_config_does_not_say_is_what_ran(
    saved, loaded, family: str, choices: dict[str, int], unsaid: str, shape: tuple[int, ...]
) -> None:
    """By default a mistral has 8 key-value heads, a gemma 256 dimensions, a llama all heads."""
    default = {"num_key_value_heads": shape[1], "head_dim": shape[2]}
    made = saved(family, **choices | {unsaid: default[unsaid]})
    lm = LanguageModel.load(without(made, unsaid))
    loaded.append(lm)
    (found,) = set(lm.shape.layers)
    assert (found.n_heads, found.n_kv_heads, found.d_qk) == shape
    assert found.d_v == found.d_qk


@pytest.fixture
def unequal(load) -> LanguageModel:
    """Full attention has one key-value head of 12 dimensions, windows have two of 16."""
    return load(
        "gemma4_text",
        num_kv_shared_layers=0,
        attention_k_eq_v=True,
        num_global_key_value_heads=1,
    )


def test_layers_may_differ(unequal: LanguageModel) -> None:
    wide = LayerShape(n_heads=4, n_kv_heads=2, d_qk=16, d_v=16)
    narrow = LayerShape(n_heads=4, n_kv_heads=1, d_qk=12, d_v=12)
    assert unequal.shape.layers == (narrow, wide, narrow)
    for layer, shape in zip(unequal.model.model.layers, unequal.shape.layers, strict=True):
        assert layer.self_attn.q_proj.out_features == shape.n_heads * shape.d_qk
        assert layer.self_attn.k_proj.out_features == shape.n_kv_heads * shape.d_qk


def test_key_value_heads_are_patched_layer_by_layer(unequal: LanguageModel) -> None:
    targets = patching._targets(unequal, ("v", "attn_out"))
    assert [(each.component.layer, each.component.index) for each in targets] == [
        *((0, 0), (0, -1)),
        *((1, 0), (1, 1), (1, -1)),
        *((2, 0), (2, -1)),
    ]


@pytest.fixture
def fewer_heads(load) -> LanguageModel:
    """A llama of which the second layer has half of its heads, each with keys of its own."""
    lm = load("llama")
    attention = lm.model.model.layers[1].self_attn
    torch.manual_seed(1)
    attention.q_proj = nn.Linear(32, 2 * 8, bias=False)
    attention.o_proj = nn.Linear(2 * 8, 32, bias=False)
    attention.num_key_value_groups = 1
    anatomy = find_anatomy(lm.model, torch.tensor([IDS]))
    layers = tuple(layer.shape for layer in anatomy.layers)
    return replace(lm, anatomy=anatomy, shape=replace(lm.shape, layers=layers))


def test_layers_may_differ_in_their_number_of_heads(fewer_heads: LanguageModel) -> None:
    lm = fewer_heads
    assert [layer.n_heads for layer in lm.shape.layers] == [4, 2]
    assert lm.prove(IDS) < 1e-4
    heads = [each for each in decomposition.components(lm.anatomy) if each.kind is Kind.HEAD]
    assert [(head.layer, head.index) for head in heads] == [
        *((0, head) for head in range(4)),
        *((1, head) for head in range(2)),
    ]
    targets = patching._targets(lm, ("z", "k"))
    assert [target.component.index for target in targets if target.component.layer == 1] == [
        0,
        1,
        0,
        1,
    ]


def test_a_head_that_only_other_layers_have_is_refused(fewer_heads: LanguageModel, prompts) -> None:
    batch = fewer_heads.batch(prompts([5]))
    recorded = fewer_heads.record(batch, keep=Keep.PREFIX)
    patch = Patch(site=Site.Z, layer=1, head=2, value=ZERO)
    with pytest.raises(ImpossiblePatch, match="layer 1 has 2 heads, counted from 0"):
        fewer_heads.replay(recorded, [Intervention((patch,))], batch.label_ids)
    spec = DistributionSpec(split="test")
    with pytest.raises(NoSuchHead, match=r"no head 1\.2: it has 2 layers of 2 or 4 heads"):
        SubspaceParams(heads=("1.2",)).check(fewer_heads.shape, spec)


def test_bases_of_unequal_layers_are_refused_at_submission(unequal: LanguageModel) -> None:
    told = (
        "layer 0 has 4 heads (key-value heads: 1), 12 dimensions of queries and keys and 12 of "
        "values; layer 1 has 4 heads (key-value heads: 2), 16 dimensions"
    )
    with pytest.raises(UnequalLayers, match=re.escape(told)):
        BasesParams().check(unequal.shape, DistributionSpec())


@pytest.mark.parametrize(("sites", "full"), [("q", 20), ("v", 16), ("qkv", 20)])
def test_a_rank_is_held_against_the_width_of_what_is_confined(load, sites: str, full: int) -> None:
    """Queries and keys of 20 dimensions, values of 16."""
    shape, spec = load("deepseek_v3").shape, DistributionSpec(split="test")
    LabelRandomisationParams(rank=full, confine=sites).check(shape, spec)
    with pytest.raises(RankTooLarge, match=f"{full} dimensions. Choose from 0 to {full}"):
        LabelRandomisationParams(rank=full + 1, confine=sites).check(shape, spec)


def test_ranks_of_a_sweep_go_to_the_width_of_what_is_confined(load) -> None:
    shape, spec = load("deepseek_v3").shape, DistributionSpec(split="test")
    SubspaceParams(ranks=(8, 20)).check(shape, spec)
    with pytest.raises(RankTooLarge, match="No rank 21: a head's q and k and v have 20 dimensions"):
        SubspaceParams(ranks=(21,)).check(shape, spec)
    assert SubspaceParams(ranks=(8, 18)).all_ranks(20) == (0, 8, 18, 20)
    assert SubspaceParams(ranks=(8, 18)).all_ranks(16) == (0, 8, 16)


def test_a_layers_heads_read_its_own_key_value_heads() -> None:
    shape = LayerShape(n_heads=6, n_kv_heads=2, d_qk=4, d_v=3)
    assert [shape.kv_head(head) for head in range(6)] == [0, 0, 0, 1, 1, 1]
    assert [list(shape.readers(kv)) for kv in range(2)] == [[0, 1, 2], [3, 4, 5]]


def test_layers_that_differ_in_their_rotary_embedding_alone_are_of_one_size() -> None:
    (one,) = alike(1, n_heads=4, n_kv_heads=4, d_qk=8, d_v=8)
    other = replace(one, before_rotary=False)
    shape = ModelShape(family="llama", d_model=32, d_vocab=60, layers=(one, other))
    BasesParams(rotary="after").check(shape, DistributionSpec())
    with pytest.raises(NotBeforeRotary):
        BasesParams(rotary="before").check(shape, DistributionSpec())
