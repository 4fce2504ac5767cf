"""Shares of variance in resamples are those of the vectors themselves, written out one by one."""

from typing import Any

import numpy as np
import pytest

from analyses import bootstrap, subspaces
from analyses.methods.bases import BasesParams, derive
from analyses.results import Derived, Kind, Measured, NamedTensor, ScoreKey
from analyses.subspaces import DATA_RANK
from analyses.variance_shares import ResampledVectors, share, shifted_to_mean

RESAMPLES = 40


def written_out(draws: bootstrap.Draws, resample: int, prompts: int) -> np.ndarray:
    """The prompts of a resample, as often as their item was drawn."""
    counts = draws.counts[:, resample].astype(int)
    return np.repeat(np.arange(prompts), counts[draws.item_of_prompt])


def test_what_lies_within_groups_is_that_of_the_vectors_written_out() -> None:
    random = np.random.default_rng(0)
    items = [f"item {n // 2}" for n in range(12)]
    draws = bootstrap.draw(items, seed=1, resamples=RESAMPLES)
    x = 100 + random.standard_normal((12, 3, 2))
    groups = random.integers(0, 3, 12)
    found = ResampledVectors(draws.item_of_prompt, draws).within(x, groups)
    for resample in range(RESAMPLES):
        chosen = written_out(draws, resample, 12)
        expected = sum(
            ((x[chosen][groups[chosen] == g] - x[chosen][groups[chosen] == g].mean(0)) ** 2).sum(0)
            for g in set(groups[chosen].tolist())
        )
        np.testing.assert_allclose(found[resample], expected, atol=1e-9)


def test_there_is_no_share_of_nothing() -> None:
    assert share(np.array([0.0, 1.0]), np.array([0.0, 4.0])).tolist() == [0, 0.25]


def test_resamples_are_moved_to_the_share_and_stay_shares() -> None:
    moved = shifted_to_mean(0.5, np.array([0.6, 0.7, 0.8]))
    np.testing.assert_allclose(moved, [0.4, 0.5, 0.6])
    assert shifted_to_mean(0.05, np.array([0.1, 0.3, 0.5])).min() == 0


def vectors(prompts: int = 24, d: int = 5) -> Measured:
    """Queries, keys and values of two heads that tell an option's place more or less."""
    random = np.random.default_rng(3)
    told = np.arange(3)[None, None, :, None, None]  # by option
    correct = random.integers(0, 3, prompts)
    symbols = np.stack([random.permutation(3) for _ in range(prompts)])
    noise = random.standard_normal((prompts, 1, 3, 2, d))
    keys = noise + told * np.array([2.0, 0, 0, 0, 0])
    queries = random.standard_normal((prompts, 1, 2, d)) + correct[:, None, None, None]
    raw = {
        "q": queries,
        "k": keys,
        "v": noise,
        **{f"{site}_other": random.standard_normal((prompts, 1, 2, d)) for site in "qkv"},
        "z": queries,
        "attn_out": queries[:, :, 0],
        "mlp_out": queries[:, :, 0],
    }
    tensors = {
        name: NamedTensor(values.astype(np.float32), ("prompt", *"abcd"[: values.ndim - 1]))
        for name, values in raw.items()
    }
    tensors["symbols"] = NamedTensor(symbols.astype(np.int32), ("prompt", "label"))
    tensors["correct"] = NamedTensor(correct.astype(np.int32), ("prompt",))
    return Measured(scores={}, tensors=tensors)


def of_items(derived: Derived, items: list[str]) -> dict[ScoreKey, Any]:
    draws = bootstrap.draw(items, seed=0, resamples=RESAMPLES)
    return {each.key: each.values for each in derived.resampled(draws)}


@pytest.mark.parametrize("centring", ["global", "per_index"])
def test_every_number_of_bases_is_found_again_in_every_resample(centring: str) -> None:
    params = BasesParams(centring=centring)
    derived = derive(vectors(), params)
    found = of_items(derived, [f"item {n // 2}" for n in range(24)])
    shares = {key for key in derived.numbers if key.quantity.metric != DATA_RANK}
    assert found.keys() == shares
    for key, values in found.items():
        assert values.shape == (RESAMPLES,)
        assert 0 <= values.min() <= derived.numbers[key] <= values.max() <= 1, key
        if values.min() > 0 and values.max() < 1:  # nothing was cut off
            assert values.mean() == pytest.approx(derived.numbers[key], abs=1e-6)


@pytest.mark.parametrize("centring", ["global", "per_index"])
def test_a_resample_has_the_shares_of_the_prompts_written_out(centring: str) -> None:
    """Along the directions of all prompts; up to what moves every resample alike."""
    measured = vectors()
    derived = derive(measured, BasesParams(centring=centring))
    items = [f"item {n}" for n in range(24)]
    draws = bootstrap.draw(items, seed=0, resamples=RESAMPLES)
    found = of_items(derived, items)
    keys, basis = measured.tensors["k"].values[:, 0].astype(np.float64), derived.tensors["k_basis"]
    every = np.einsum("pohd,hdr->pohr", keys - keys.mean((0, 1)), basis.values[0])
    explained, of_variance = [], []
    for resample in range(RESAMPLES):
        x = every[written_out(draws, resample, 24)]  # [prompt, option, head, dim]
        first = x[:, :, 0, :1].reshape(-1, 1, 1, 1).astype(np.float32)
        by_index = np.tile(np.arange(3), len(x))
        explained.append(subspaces.explained(first, by_index.tolist()).item())
        centre = x.mean(0) if centring == "per_index" else x.mean((0, 1))
        spread = ((x - centre) ** 2).sum((0, 1))[0]
        of_variance.append(spread[0] / spread.sum())
    first = {"site": "k", "x": 1}
    for metric, condition, expected in (
        ("explained", "by=index", explained),
        ("variance_share", "", of_variance),
    ):
        (key,) = (
            key
            for key in found
            if (
                key.quantity.metric,
                key.quantity.condition,
                key.quantity.site,
                key.x,
                key.component.index,
            )
            == (metric, condition, *first.values(), 0)
            and key.component.kind is Kind.KV_HEAD
        )
        moved = shifted_to_mean(derived.numbers[key], np.array(expected))
        np.testing.assert_allclose(found[key], moved, atol=1e-5)


def test_skipped_prompts_are_in_no_resample() -> None:
    whole = vectors()
    fewer = {name: NamedTensor(each.values[:20], each.axes) for name, each in whole.tensors.items()}
    gaps = dict(whole.tensors)
    for name, each in gaps.items():
        if each.values.dtype.kind == "f":
            gaps[name] = NamedTensor(
                np.where(
                    np.arange(24).reshape(-1, *[1] * (each.values.ndim - 1)) < 20,
                    each.values,
                    np.nan,
                ),
                each.axes,
            )
    items = [f"item {n % 4}" for n in range(24)]  # every resample holds some of all
    one = of_items(derive(Measured(scores={}, tensors=gaps), BasesParams()), items)
    other = of_items(derive(Measured(scores={}, tensors=fewer), BasesParams()), items[:20])
    assert one.keys() == other.keys()
    for key, values in one.items():
        np.testing.assert_allclose(values, other[key], atol=1e-6)
