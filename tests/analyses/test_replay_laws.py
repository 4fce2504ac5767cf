"""What must hold of interventions whatever the model says: docs/methods.md, section 16."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import EVERY, LENGTHS, SOURCE_LENGTHS, alone, confined
from reference import logits_under
from torch.testing import assert_close

from analyses.engine.interventions import (
    OF_A_HEAD,
    READS,
    SOURCE,
    ZERO,
    Apply,
    Constant,
    Intervention,
    Patch,
    Path,
    Site,
    Subspace,
)
from analyses.engine.recording import Keep

TWO = pytest.mark.parametrize("family", ["gemma2", "gpt2", "gpt_oss", "llama", "phi"])
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def ground(shared, prompts):
    """A model, its recording of some prompts, one of as many sources, and their batch."""

    def make(family: str, **choices: object):
        lm = shared(family, **choices)
        batch = lm.batch(prompts(LENGTHS))
        sources = prompts([*LENGTHS, *SOURCE_LENGTHS])[len(LENGTHS) :]
        recorded = lm.record(batch, keep=Keep.POSITIONS)
        return lm, batch, recorded, lm.record(lm.batch(sources), keep=Keep.POSITIONS)

    return make


def everywhere_at_once(lm, *, value=SOURCE, at=None) -> list[Patch]:
    return [
        Patch(site=site, layer=layer, head=head, value=value, at=None if site in READS else at)
        for layer in range(lm.shape.n_layers)
        for site in Site
        for head in (range(lm.shape.n_heads) if site in OF_A_HEAD else [None])
    ]


@TWO
def test_patching_an_output_with_itself_changes_nothing(ground, family: str) -> None:
    lm, batch, recorded, _ = ground(family)
    patches = everywhere_at_once(lm) + everywhere_at_once(lm, at=EVERY)
    interventions = [Intervention((patch,)) for patch in patches]
    interventions += [Intervention((patch,), Path.DIRECT) for patch in everywhere_at_once(lm)]
    found = lm.replay(recorded, interventions, batch.label_ids, source=recorded).labels
    assert_close(found, recorded.logits.gather(1, batch.label_ids).expand_as(found), **CLOSE)


@TWO
def test_patching_everything_gives_the_sources_logits(ground, family: str) -> None:
    lm, batch, recorded, source = ground(family)
    last = lm.shape.n_layers - 1
    everything = [
        Intervention((Patch(site=Site.RESID_POST, layer=last),)),
        Intervention(
            tuple(
                p
                for p in everywhere_at_once(lm)
                if p.site in (Site.RESID_PRE, Site.ATTN_OUT, Site.MLP_OUT)
            )
        ),
    ]
    found = lm.replay(recorded, everything, batch.label_ids, source=source).labels
    assert_close(found, source.logits.gather(1, batch.label_ids).expand_as(found), **CLOSE)


@TWO
def test_the_first_residual_of_every_position_is_the_whole_source(shared, prompts, family) -> None:
    lm = shared(family)
    base, sources = prompts([9, 7, 9, 7])[:2], prompts([9, 7, 9, 7])[2:]
    batch = lm.batch(base)
    every = tuple(tuple(range(length)) for length in (9, 7))
    recorded, source = (lm.record(lm.batch(each), keep=Keep.POSITIONS) for each in (base, sources))
    patch = Patch(site=Site.RESID_PRE, layer=0, at=every)
    found = lm.replay(recorded, [Intervention((patch,))], batch.label_ids, source=source).labels[0]
    assert_close(found, source.logits.gather(1, batch.label_ids), **CLOSE)


@TWO
def test_patching_nothing_gives_the_bases_logits(ground, family: str) -> None:
    lm, batch, recorded, _ = ground(family)
    found = lm.replay(recorded, [Intervention()], batch.label_ids).labels[0]
    assert_close(found, recorded.logits.gather(1, batch.label_ids), **CLOSE)


@pytest.mark.parametrize(
    ("family", "before_rotary"),
    [("gemma2", True), ("gpt2", False), ("gpt_oss", True), ("llama", False), ("phi", True)],
)
def test_full_rank_is_the_identity_and_rank_zero_a_constant(
    ground, family: str, before_rotary: bool
) -> None:
    lm, batch, recorded, _ = ground(family)
    d = recorded.reads[0].key.shape[-1]
    mean = torch.linspace(-1, 1, d)

    def under(site: Site, value) -> torch.Tensor:
        turned = before_rotary and site in (Site.Q, Site.K)
        patch = Patch(site=site, layer=0, head=2, value=value, before_rotary=turned)
        return lm.replay(recorded, [Intervention((patch,))], batch.label_ids).labels[0]

    for site in (Site.Q, Site.K, Site.V, Site.Z):
        whole = under(site, Apply(Subspace(mean, torch.eye(d))))
        assert_close(whole, recorded.logits.gather(1, batch.label_ids), **CLOSE)
        nothing = under(site, Apply(Subspace(mean, torch.zeros(d, 0))))
        assert_close(nothing, under(site, Constant(mean)), **CLOSE)


@TWO
def test_total_is_direct_for_the_last_layers_mlp(ground, family: str) -> None:
    lm, batch, recorded, source = ground(family)
    patch = Patch(site=Site.MLP_OUT, layer=lm.shape.n_layers - 1)
    both = [Intervention((patch,), path) for path in Path]
    total, direct = lm.replay(recorded, both, batch.label_ids, source=source).labels
    assert_close(total, direct, **CLOSE)


@TWO
def test_a_batch_of_two_equals_two_batches_of_one(shared, prompts, family: str) -> None:
    lm = shared(family)
    made = prompts([11, 6])
    interventions = alone(*everywhere_at_once(lm, value=ZERO))
    batch = lm.batch(made)
    both = lm.replay(lm.record(batch, keep=Keep.PREFIX), interventions, batch.label_ids).labels
    for row, prompt in enumerate(made):
        batch = lm.batch([prompt])
        one = lm.replay(lm.record(batch, keep=Keep.PREFIX), interventions, batch.label_ids).labels
        assert_close(both[:, row], one[:, 0], atol=1e-4, rtol=0)


@TWO
def test_the_same_replay_gives_bit_equal_numbers(ground, family: str) -> None:
    lm, batch, recorded, source = ground(family)
    interventions = alone(*everywhere_at_once(lm))
    first, second = (
        lm.replay(recorded, interventions, batch.label_ids, source=source).labels for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_grouped_head_can_be_read_for_alone(ground) -> None:
    """Two heads share keys; what one of them reads otherwise, the other does not."""
    lm, batch, recorded, source = ground("llama")
    one, other = (Patch(site=Site.K, layer=1, head=head) for head in (0, 1))
    label_ids = batch.label_ids
    found = lm.replay(recorded, alone(one, other), label_ids, source=source).labels
    plain = recorded.logits.gather(1, label_ids)
    assert (found[0] - plain).abs().max() > 1e-3
    assert (found[0] - found[1]).abs().max() > 1e-3


@st.composite
def sets_of_patches(draw) -> Intervention:
    patches = []
    for _ in range(draw(st.integers(1, 5))):
        site = draw(st.sampled_from(list(Site)))
        value = draw(st.sampled_from([SOURCE, ZERO, Apply(torch.tanh), "confined"]))
        patches.append(
            Patch(
                site=site,
                layer=draw(st.integers(0, 1)),
                head=draw(st.integers(0, 3)) if site in OF_A_HEAD else None,
                value=confined(8 if site in OF_A_HEAD else 32) if value == "confined" else value,
                at=draw(
                    st.none()
                    | st.tuples(*(st.sets(st.integers(0, n - 1), max_size=3) for n in LENGTHS)).map(
                        lambda rows: tuple(tuple(sorted(row)) for row in rows)
                    )
                ),
                before_rotary=draw(st.booleans()) and site in (Site.Q, Site.K, Site.V),
            )
        )
    moving = any(patch.moves for patch in patches)
    path = Path.TOTAL if moving else draw(st.sampled_from(Path))
    apart: list[Patch] = []
    for patch in patches:
        if not any(overlaps(patch, other) for other in apart):
            apart.append(patch)
    return Intervention(tuple(apart), path)


def overlaps(one: Patch, other: Patch) -> bool:
    """Whether two patches replace the same thing somewhere; which of them is last matters then."""
    if (one.site, one.layer, one.head) != (other.site, other.layer, other.head):
        return False
    if one.at is None or other.at is None:
        return True
    return any(set(a) & set(b) for a, b in zip(one.at, other.at, strict=True))


@pytest.fixture
def ground_and_prompts(ground, prompts, family):
    made = prompts([*LENGTHS, *SOURCE_LENGTHS])
    return (*ground(family), made[:3], made[3:])


@pytest.mark.parametrize("family", ["llama", "mistral", "phi"])
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(interventions=st.lists(sets_of_patches(), min_size=1, max_size=4))
def test_any_set_of_interventions_equals_a_forward_pass_for_each(
    ground_and_prompts, interventions: list[Intervention]
) -> None:
    """Together in one replay, whatever their sites, positions and paths."""
    lm, batch, recorded, source, base, sources = ground_and_prompts
    found = lm.replay(recorded, interventions, batch.label_ids, source=source).labels
    slow = logits_under(lm, interventions, base, sources)[..., [5, 6, 7, 8]]
    assert_close(found, slow, atol=1e-4, rtol=0)
