"""Path patches against frozen forward passes with plain hooks: docs/methods.md, section 15."""

import pytest
import torch
from kinds import BASE, SOURCES
from reference import Pass, logits_of_paths
from torch.testing import assert_close

from analyses.engine.interventions import (
    SAME,
    SOURCE,
    ZERO,
    Apply,
    FromSource,
    ImpossiblePatch,
    Intervention,
    Patch,
    Site,
)
from analyses.engine.path_patches import unchanged
from analyses.engine.recording import Keep
from analyses.language_model import LanguageModel

DEEP = {"num_hidden_layers": 3}
FAMILIES = {  # with layers between; grouped-query attention but for gpt2
    "gemma2": DEEP,  # post-norms
    "gpt2": {"n_layer": 3},
    "gpt_neox": DEEP,  # attention and MLP in parallel
    "granite": DEEP,  # a residual multiplier
    "llama": DEEP,
    "olmo2": DEEP,  # post-norms, norms of queries and keys
    "qwen2": DEEP,
}
ANY = pytest.mark.parametrize("family", FAMILIES)
TOLERANCE = 1e-4
EFFECT = 10 * TOLERANCE
HERE, THERE = ((3, 7), (2, 4), (0, 8)), ((4, 7), (1, 6), (2, 3))  # in prompts and sources


@pytest.fixture
def ground(load, random_model):
    """A model of three layers whose maps are large, so that every path matters."""

    def make(family: str):
        model = random_model(family, **FAMILIES[family])
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not any(end in name for end in ("embed", "wte", "lm_head")):
                parameter.data *= 2.0
        return load(model)

    return make


def senders_below(lm: LanguageModel, layer: int, *, at=None, value=SOURCE) -> list[Patch]:
    """Every head and MLP of the layers below."""
    return [
        Patch(site=site, layer=below, head=head, value=value, at=at)
        for below in range(layer)
        for site, heads in ((Site.Z, range(lm.shape.n_heads)), (Site.MLP_OUT, [None]))
        for head in heads
    ]


def paths(lm: LanguageModel, senders, layer: int, read, **choices) -> torch.Tensor:
    """The logits with each sender's change in this read, [sender, prompt, d_vocab]."""
    batch = lm.batch(BASE)
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    source = lm.record(lm.batch(SOURCES), keep=Keep.POSITIONS)
    found = lm.path_patches(recorded, senders, layer, [read], source=source)[read]
    made = [Intervention(patches) for patches in found]
    return lm.replay(recorded, made, batch.label_ids, **choices).labels


def check(lm: LanguageModel, senders: list[Patch], layer: int, read) -> None:
    into = [(each, [(layer, *read)]) for each in senders]
    slow = logits_of_paths(lm, into, BASE, SOURCES)
    plain = torch.stack([Pass(lm, each.input_ids, row).logits for row, each in enumerate(BASE)])
    assert (slow - plain).abs().amax((1, 2)).min() >= EFFECT
    assert_close(paths(lm, senders, layer, read), slow, atol=TOLERANCE, rtol=0)


@ANY
def test_a_path_into_a_query_is_a_pass_with_all_else_frozen(ground, family: str) -> None:
    lm = ground(family)
    senders = [
        Patch(site=Site.Z, layer=0, head=1),
        Patch(site=Site.MLP_OUT, layer=0),
        Patch(site=Site.Z, layer=1, head=2),
    ]
    check(lm, senders, 2, (3, Site.Q))


@ANY
@pytest.mark.parametrize("site", [Site.K, Site.V])
def test_a_path_into_keys_or_values_ends_in_what_one_head_reads(ground, family, site) -> None:
    lm = ground(family)
    senders = [
        Patch(site=Site.Z, layer=0, head=1, value=FromSource(at=THERE), at=HERE),
        Patch(site=Site.MLP_OUT, layer=0, value=FromSource(at=THERE), at=HERE),
    ]
    check(lm, senders, 1, (2, site))


def silence_mlp(lm: LanguageModel, layer: int) -> None:
    for name, parameter in lm.model.named_parameters():
        if f".{layer}.mlp." in name:
            parameter.data.zero_()


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("site", [Site.Z, Site.MLP_OUT])
def test_a_total_effect_is_that_of_all_paths_at_once(ground, family: str, site: Site) -> None:
    """Into every read of the heads above, and along the residual into the MLP above and the logits.

    The MLP of the head's own layer is silent, so that it adds no path.
    """
    lm = ground(family)
    if site is Site.Z:
        silence_mlp(lm, 1)
    sender = Patch(site=site, layer=1, head=2 if site is Site.Z else None)
    written = (Site.ATTN_OUT if site is Site.Z else Site.MLP_OUT), 1
    changes, totals, plain = [], [], []
    for row, prompt in enumerate(BASE):
        base, source = (Pass(lm, each[row].input_ids, row) for each in (BASE, SOURCES))
        patched = Pass(lm, prompt.input_ids, row, [sender], source)
        changes.append((patched.seen[written] - base.seen[written])[-1])
        totals.append(patched.logits)
        plain.append(base.logits)
    change = torch.stack(changes)[:, None]
    onwards = Patch(site=Site.ATTN_OUT, layer=2, value=Apply(lambda x: x + change))
    batch = lm.batch(BASE)
    recorded, source = (lm.record(lm.batch(each), keep=Keep.PREFIX) for each in (BASE, SOURCES))
    reads = [(each, to) for each in range(lm.shape.n_heads) for to in (Site.Q, Site.K, Site.V)]
    found = lm.path_patches(recorded, [sender], 2, reads, source=source)
    every = Intervention((*(patch for (patches,) in found.values() for patch in patches), onwards))
    total = torch.stack(totals)
    assert (total - torch.stack(plain)).abs().amax(1).min() >= 100 * TOLERANCE
    (all_at_once,) = lm.replay(recorded, [every], batch.label_ids).labels
    assert_close(all_at_once, total, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "llama"])
@pytest.mark.parametrize("at", [None, HERE])
def test_a_source_that_is_the_base_changes_no_read(ground, family: str, at) -> None:
    """Not by one bit: the reads are those under a sender that writes what it wrote."""
    lm = ground(family)
    batch = lm.batch(BASE)
    recorded = lm.record(batch, keep=Keep.POSITIONS)
    same = Patch(site=Site.MLP_OUT, layer=0, value=SAME, at=at)
    senders = [same, *senders_below(lm, 2, at=at)]
    reads = [(1, site) for site in (Site.Q, Site.K, Site.V)]
    for first, *others in lm.path_patches(recorded, senders, 2, reads, source=recorded).values():
        assert all(bool(unchanged(each, first).all()) for each in others)
        made = [Intervention(each) for each in (first, *others)]
        logits = lm.replay(recorded, made, batch.label_ids).labels
        assert_close(logits, recorded.logits.expand_as(logits), atol=1e-5, rtol=1e-5)


def test_what_has_no_path_to_a_read_is_refused(load) -> None:
    lm = load("llama")
    recorded = lm.record(lm.batch(BASE), keep=Keep.POSITIONS)
    head = Patch(site=Site.Z, layer=0, head=0, value=ZERO)
    with pytest.raises(ImpossiblePatch, match="no path to what the heads of layer 0 read"):
        lm.path_patches(recorded, [head], 0, [(0, Site.Q)])
    query = Patch(site=Site.Q, layer=0, head=0, value=ZERO)
    with pytest.raises(ImpossiblePatch, match=r"Choose z, attn_out or mlp_out of a layer below"):
        lm.path_patches(recorded, [query], 1, [(0, Site.Q)])
    elsewhere = Patch(site=Site.Z, layer=0, head=0, value=ZERO, at=HERE)
    with pytest.raises(ImpossiblePatch, match="Give all senders the same `at`"):
        lm.path_patches(recorded, [head, elsewhere], 1, [(0, Site.Q)])
