"""Means and principal directions of what heads read."""

import numpy as np
import pytest
import torch
from studied import FAMILIES, LONG, assert_same, in_parts, model_of, read_for, result, run

from analyses import prompt_sums, subspaces
from analyses.engine.recording import Keep
from analyses.engine.rotary import NoRotaryEmbedding
from analyses.methods.bases import BasesParams, bases, derive, warned
from analyses.prompts.key_sites import KeySite
from analyses.quantities import Quantity
from analyses.results import Component, Kind, Measured, NamedTensor, ScoreKey
from analyses.site_bases import DIMS


def frame(family: str) -> str:
    return "after" if family == "gpt2" else "before"


@pytest.mark.parametrize("family", FAMILIES)
def test_bases_are_orthonormal_of_every_head_and_key_value_head(shared, family: str) -> None:
    lm = model_of(shared, family)
    params = BasesParams(rotary=frame(family), batch_size=4)
    found = derive(run(bases, lm, read_for(lm, size=8), params), params).tensors
    shape = lm.shape
    for site, heads in (("q", shape.n_heads), ("k", shape.n_kv_heads), ("v", shape.n_kv_heads)):
        basis = found[f"{site}_basis"].values
        assert basis.shape == (shape.n_layers, heads, shape.d_head, shape.d_head)
        product = np.swapaxes(basis, -1, -2) @ basis
        spanned = np.arange(shape.d_head) < np.asarray(found[f"{site}_rank"].values, int)[..., None]
        np.testing.assert_allclose(product, spanned[..., None] * np.eye(shape.d_head), atol=1e-5)
        assert (np.diff(found[f"{site}_singular"].values) <= 0).all()
    assert found["k_projection"].values.shape == (8, 4, shape.n_layers, shape.n_kv_heads, DIMS)
    assert found["q_projection"].axes == ("prompt", "layer", "head", "dim")


@pytest.mark.parametrize("rotary", ["before", "after"])
def test_vectors_are_those_of_the_key_site(shared, rotary: str) -> None:
    lm = shared("llama", **LONG)
    prompts = read_for(lm, size=3)
    params = BasesParams(rotary=rotary, key_site="bracket", batch_size=3)
    found = run(bases, lm, prompts, params).tensors
    recorded = lm.record(lm.batch(prompts), keep=Keep.POSITIONS)
    for row, prompt in enumerate(prompts):
        for option, place in enumerate(prompt.places.at(KeySite.BRACKET)):
            value = recorded.reads[1].value[row, :, place].numpy()
            np.testing.assert_array_equal(found["v"].values[row, 1, option], value)
            key = recorded.reads[1].key[row, :, place].numpy()
            same = np.allclose(found["k"].values[row, 1, option], key, atol=1e-6)
            assert same == (rotary == "after")
    lengths = np.linalg.norm(found["k"].values[:, 1], axis=-1)
    of_keys = [
        recorded.reads[1].key[row, :, list(each.places.at(KeySite.BRACKET))].norm(dim=-1).T
        for row, each in enumerate(prompts)
    ]
    np.testing.assert_allclose(lengths, torch.stack(of_keys).numpy(), rtol=1e-5)  # only turned


def test_a_model_without_rotary_embedding_has_no_vectors_before_it(shared) -> None:
    lm = shared("gpt2", **LONG)
    with pytest.raises(NoRotaryEmbedding, match="before_rotary=False"):
        run(bases, lm, read_for(lm, size=2), BasesParams())


def test_the_directions_of_vectors_on_paper() -> None:
    """Along (3, 4)/5 with singular values √(2·25), and across with √(2·1)."""
    along, across = np.array([3.0, 4.0]), np.array([-0.8, 0.6])
    points = np.array([along, -along, across, -across], dtype=np.float32) + 7
    found = subspaces.principal(points[:, None, None])
    np.testing.assert_allclose(found.mean[0, 0], [7, 7], atol=1e-6)
    np.testing.assert_allclose(found.basis[0, 0].T, [[0.6, 0.8], [0.8, -0.6]], atol=1e-6)
    np.testing.assert_allclose(found.singular[0, 0], [50**0.5, 2**0.5], rtol=1e-6)
    np.testing.assert_allclose(
        subspaces.projected(points[:, None, None], found, 1).ravel(), [5, -5, 0, 0], atol=1e-5
    )


def test_fewer_vectors_than_dimensions_have_directions_for_what_they_span() -> None:
    x = np.random.default_rng(0).standard_normal((3, 1, 1, 8)).astype(np.float32)
    found = subspaces.principal(x)
    assert found.basis.shape == (1, 1, 8, 8)
    assert found.rank.item() == 2
    np.testing.assert_allclose(found.singular[0, 0, 2:], 0, atol=1e-5)
    np.testing.assert_array_equal(found.basis[0, 0, :, 2:], 0)


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("size", [1e-3, 1, 1e3])
def test_the_rank_of_vectors_is_that_of_numpy(n: int, size: float) -> None:
    """Of vectors that were rounded to fp32, beside a mean that is no larger than they are."""
    random = np.random.default_rng(n)
    for rank in range(5):
        flat = random.standard_normal((n, rank)) @ random.standard_normal((rank, 8))
        x = (size * (flat - flat.mean(0))).astype(np.float32)
        found = subspaces.principal(x[:, None, None]).rank.item()
        tolerance = np.linalg.norm(x, 2) * max(n, 8) * np.finfo(np.float32).eps
        assert found == np.linalg.matrix_rank(x.astype(np.float64), tol=tolerance) == min(rank, n)


def test_vectors_that_are_alike_up_to_rounding_have_no_directions() -> None:
    """What is left of them, centred, is rounding, though one direction of it is the largest."""
    random = np.random.default_rng(0)
    mean = random.standard_normal(8)
    x = (mean * (1 + 1e-7 * random.standard_normal((40, 8)))).astype(np.float32)
    found = subspaces.principal(x[:, None, None])
    assert found.rank.item() == 0
    assert found.singular.max() > 0
    along = random.standard_normal((40, 1)) * random.standard_normal(8)
    assert subspaces.principal((mean + along).astype(np.float32)[:, None, None]).rank.item() == 1


def test_what_is_rounding_in_half_precision_is_no_direction() -> None:
    """Vectors that were alike, but for what bfloat16 keeps of them."""
    random = np.random.default_rng(0)
    mean = random.standard_normal(8)
    alike = torch.tensor(mean * (1 + 1e-3 * random.standard_normal((40, 8)))).bfloat16()
    x = alike.float().numpy()[:, None, None]
    assert subspaces.principal(x).rank.item() > 0
    step = torch.finfo(torch.bfloat16).eps
    assert subspaces.principal(x, step=step).rank.item() == 0
    along = (random.standard_normal((40, 1)) * random.standard_normal(8)).astype(np.float32)
    assert subspaces.principal(x + along[:, None, None], step=step).rank.item() == 1


def test_too_few_directions_are_told_of_the_sites_that_want_more() -> None:
    head = Component(kind=Kind.HEAD, layer=0, index=0)
    means = {
        ScoreKey(head, Quantity(subspaces.DATA_RANK, site)): rank
        for site, rank in (("q", 20.0), ("k", 3.0), ("v", 2.0))
    }
    assert subspaces.too_few(means, {"q": 20, "k": 3}) == []
    (said,) = subspaces.too_few(means, {"q": 20, "k": 4})
    assert said.startswith("The keys that were learnt from span fewer than 4 dimensions in 1 head ")


def test_nothing_is_said_of_directions_that_the_vectors_do_not_have(shared) -> None:
    """Queries at the first layer are those of one token, whatever the prompt; four have rank 3."""
    lm = shared("llama", **LONG)
    params = BasesParams()
    found = derive(run(bases, lm, read_for(lm, size=4), params), params)
    ranks = {
        (key.component, key.quantity.site): rank
        for key, rank in found.numbers.items()
        if key.quantity.metric == subspaces.DATA_RANK
    }
    assert {ranks[Component(kind=Kind.HEAD, layer=0, index=n), "q"] for n in range(4)} == {0}
    assert {ranks[Component(kind=Kind.HEAD, layer=1, index=n), "q"] for n in range(4)} == {3}
    for (component, site), rank in ranks.items():
        for metric, conditions in (("explained", 2), ("variance_share", 1)):
            told = [
                key.x
                for key in found.numbers
                if (key.component, key.quantity.site, key.quantity.metric)
                == (component, site, metric)
            ]
            assert len(told) == conditions * min(rank, DIMS)
            assert max(told, default=0) == min(rank, DIMS)
    said = warned(found.numbers, params)
    assert [each.split(" (")[0] for each in said if each.startswith("The queries")] == [
        "The queries that were learnt from span fewer than 4 dimensions in 8 heads"
    ]
    assert "(the fewest: 0 in L00.H00)" in " ".join(said)


def test_explained_is_one_between_groups_and_zero_within() -> None:
    groups = [0, 0, 1, 1]
    told = np.array([1.0, 1.0, 5.0, 5.0])[:, None, None, None]
    untold = np.array([1.0, 5.0, 1.0, 5.0])[:, None, None, None]
    assert subspaces.explained(told, groups).item() == 1
    assert subspaces.explained(untold, groups).item() == 0


def test_random_subspaces_are_orthonormal_and_the_same_for_a_seed() -> None:
    drawn = subspaces.random_bases(6, 3, (1, 2))
    np.testing.assert_allclose(
        np.swapaxes(drawn, -1, -2) @ drawn, np.broadcast_to(np.eye(6), (3, 6, 6)), atol=1e-6
    )
    np.testing.assert_array_equal(drawn, subspaces.random_bases(6, 3, (1, 2)))
    assert not np.allclose(drawn, subspaces.random_bases(6, 3, (1, 3)))


def test_each_index_keeps_its_own_mean_of_keys(shared) -> None:
    lm = shared("llama", **LONG)
    prompts = read_for(lm, size=8)
    measured = run(bases, lm, prompts, BasesParams())
    apart = derive(measured, BasesParams(centring="per_index"))
    by_index = [
        value
        for key, value in apart.numbers.items()
        if key.quantity.metric == "explained"
        and (key.quantity.site, key.quantity.condition) == ("k", "by=index")
    ]
    whole = result(measured, apart).tensors
    by_index_mean = np.asarray(whole["k_index_mean"].values, float)
    np.testing.assert_allclose(by_index_mean, measured.tensors["k"].values.mean(0), atol=1e-5)
    k_mean = np.asarray(whole["k_mean"].values, float)
    np.testing.assert_allclose(by_index_mean.mean(1), k_mean, atol=1e-5)
    assert 0 <= min(by_index) <= max(by_index) <= 1


def test_skipped_prompts_count_for_nothing(shared) -> None:
    lm = shared("llama", **LONG)
    measured = run(bases, lm, read_for(lm, size=8), BasesParams())
    for tensor in measured.tensors.values():
        if tensor.values.dtype.kind == "f":
            tensor.values[5:] = np.nan
    fewer = {
        name: type(each)(each.values[:5], each.axes) for name, each in measured.tensors.items()
    }
    found = derive(measured, BasesParams()).tensors
    expected = derive(Measured(scores={}, tensors=fewer), BasesParams()).tensors
    np.testing.assert_array_equal(found["q_basis"].values, expected["q_basis"].values)
    assert np.isnan(found["q_projection"].values[5:]).all()


def test_numbers_do_not_depend_on_how_a_run_is_cut(shared) -> None:
    lm = shared("qwen2", **LONG)
    prompts, params = read_for(lm, size=12), BasesParams(batch_size=2)
    whole = run(bases, lm, prompts, params)
    assert_same(whole, in_parts(bases, lm, prompts, params, 3))
    kinds = {key.component.kind for key in derive(whole, params).numbers}
    assert kinds == {Kind.HEAD, Kind.KV_HEAD}


def test_means_are_those_of_all_prompts_whichever_way_parts_give_them(shared) -> None:
    """Sums, or the rows of every prompt, as parts that were measured before an upgrade."""
    lm = shared("llama", **LONG)
    prompts, params = read_for(lm, size=6), BasesParams(batch_size=3)
    measured = run(bases, lm, prompts, params)
    recorded = [lm.record(lm.batch(prompts[at : at + 3]), keep=Keep.POSITIONS) for at in (0, 3)]
    found = derive(measured, params).tensors
    for site in ("z", "attn_out", "mlp_out"):
        rows = np.concatenate(
            [
                np.stack([getattr(layer, site).numpy() for layer in each.layers], axis=1)
                for each in recorded
            ]
        )
        expected = rows.mean(0, dtype=np.float64).astype(np.float32)
        np.testing.assert_array_equal(found[f"{site}_mean"].values, expected)
        axes = ("prompt", *found[f"{site}_mean"].axes)
        half = np.where(np.arange(6) < 3, 1, np.nan).reshape(-1, *[1] * (rows.ndim - 1))
        of_later = prompt_sums.summed(rows[3:])
        mixed = {
            **measured.tensors,
            site: NamedTensor((rows * half).astype(np.float32), axes),
            f"{site}_sum": NamedTensor(of_later, ("sum", *axes[1:])),
        }
        again = derive(Measured(scores={}, tensors=mixed), params).tensors
        np.testing.assert_array_equal(again[f"{site}_mean"].values, expected)
