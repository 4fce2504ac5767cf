"""What interventions say of themselves, what is refused, and that nothing is left behind."""

from dataclasses import replace

import pytest
import torch

from analyses.engine import branches, memory
from analyses.engine.interventions import (
    OF_A_HEAD,
    Constant,
    ImpossiblePatch,
    Intervention,
    Patch,
    Path,
    Site,
)
from analyses.engine.recording import Keep
from analyses.results import Component, Kind

ALL_Z = [
    Intervention((Patch(site=Site.Z, layer=layer, head=head),))
    for layer in range(2)
    for head in range(4)
]


def test_an_intervention_names_its_components_once() -> None:
    patches = (
        Patch(site=Site.Q, layer=1, head=2),
        Patch(site=Site.K, layer=1, head=2),
        Patch(site=Site.MLP_OUT, layer=0),
        Patch(site=Site.ATTN_OUT, layer=3),
    )
    assert Intervention(patches).components == (
        Component(kind=Kind.HEAD, layer=1, index=2),
        Component(kind=Kind.MLP, layer=0),
        Component(kind=Kind.ATTN, layer=3),
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"site": Site.Z, "layer": 0}, "the site z needs a head"),
        ({"site": Site.MLP_OUT, "layer": 0, "head": 1}, "the site mlp_out is not one head's"),
        ({"site": Site.Z, "layer": 2, "head": 0}, "the model has 2 layers"),
        ({"site": Site.Z, "layer": 0, "head": 4}, "layer 0 has 4 heads"),
        ({"site": Site.Z, "layer": 0, "head": 0}, "Give `source`"),
        ({"site": Site.Z, "layer": 0, "head": 0, "at": ((1,), (2,))}, "keep=Keep.POSITIONS"),
        (
            {"site": Site.K, "layer": 0, "head": 0, "at": ((1,), (6,))},
            r"last positions are \[8, 5\]",
        ),
        ({"site": Site.K, "layer": 0, "head": 0, "at": ((1,),)}, "Give each prompt its own"),
    ],
)
def test_what_cannot_be_patched_is_refused(shared, prompts, fields, message: str) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    with pytest.raises(ImpossiblePatch, match=message):
        lm.replay(
            lm.record(batch, keep=Keep.PREFIX), [Intervention((Patch(**fields),))], batch.label_ids
        )


def test_a_direct_path_begins_at_the_final_position() -> None:
    patch = Patch(site=Site.Z, layer=0, head=0, at=((1,),))
    with pytest.raises(ImpossiblePatch, match="only the final position has a direct path"):
        Intervention((patch,), Path.DIRECT)


@pytest.mark.parametrize(
    ("site", "lengths", "keep", "message"),
    [
        (Site.K, (9, 5), Keep.PREFIX, "a source prompt ends before"),
        (Site.K, (9, 6), Keep.WRITES, "the source was made with keep=Keep.WRITES"),
        (Site.Z, (9, 6, 7), Keep.WRITES, "the source has 3 prompts, the recording 2"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    shared, prompts, site: Site, lengths: tuple[int, ...], keep: Keep, message: str
) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    with pytest.raises(ImpossiblePatch, match=message):
        lm.replay(
            lm.record(batch, keep=Keep.PREFIX),
            [Intervention((Patch(site=site, layer=0, head=0),))],
            batch.label_ids,
            source=lm.record(lm.batch(prompts(lengths)), keep=keep),
        )


def test_a_recording_without_keys_cannot_be_replayed(shared, prompts) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded = lm.record(batch)
    with pytest.raises(ImpossiblePatch, match=r"Record with keep=Keep\.PREFIX"):
        lm.replay(recorded, ALL_Z, batch.label_ids, source=recorded)


@pytest.mark.parametrize(
    "path", ["model.layers.0.mlp", "model.layers.1.self_attn", "model.layers.1"]
)
def test_nothing_is_left_after_an_exception(shared, prompts, path: str) -> None:
    """What is left would be found by the fixture that looks after every test."""
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    patches = (Patch(site=Site.ATTN_OUT, layer=0), Patch(site=Site.MLP_OUT, layer=1))
    before = lm.replay(recorded, [Intervention(patches)], batch.label_ids, source=recorded)
    module = lm.model.get_submodule(path)
    forward = module.forward

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("in the middle")

    module.forward = fails
    with pytest.raises(RuntimeError, match="in the middle"):
        lm.replay(recorded, [Intervention(patches)], batch.label_ids, source=recorded)
    del module.forward
    assert module.forward == forward
    after = lm.replay(recorded, [Intervention(patches)], batch.label_ids, source=recorded)
    assert torch.equal(before.labels, after.labels)


class Cancelled(Exception):
    pass


def test_progress_is_told_after_every_chunk_and_can_end_the_replay(
    shared, prompts, monkeypatch
) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    monkeypatch.setitem(memory.MOST_TOKENS, "cpu", 6)  # three branches of two prompts
    done: list[int] = []
    lm.replay(recorded, ALL_Z, batch.label_ids, source=recorded, progress=done.append)
    assert done == [3, 6, 8]

    def cancel(number: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        lm.replay(recorded, ALL_Z, batch.label_ids, source=recorded, progress=cancel)


def test_a_small_budget_only_cuts_the_work(shared, prompts, monkeypatch) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded, source = lm.record(batch, keep=Keep.PREFIX), lm.record(lm.batch(prompts([7, 8])))
    sizes = []
    whole = branches.final_resid
    monkeypatch.setattr(
        branches, "final_resid", lambda ground, some: sizes.append(len(some)) or whole(ground, some)
    )
    choices = {"source": source, "label_ids": batch.label_ids, "whole_vocabulary": True}
    plenty = lm.replay(recorded, ALL_Z, **choices)
    little = replace(lm, memory_budget=1).replay(recorded, ALL_Z, **choices)
    assert sizes == [8, *[1] * 8]
    torch.testing.assert_close(plenty.labels, little.labels, atol=1e-5, rtol=0)
    torch.testing.assert_close(plenty.logsumexp, little.logsumexp, atol=1e-5, rtol=0)


def test_no_interventions_give_no_numbers(shared, prompts) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    found = lm.replay(recorded, [], batch.label_ids, whole_vocabulary=True)
    assert found.labels.shape == (0, 2, 4)
    assert found.logsumexp.shape == (0, 2)


@pytest.mark.parametrize(("site", "width"), [(Site.Z, 8), (Site.MLP_OUT, 32), (Site.K, 8)])
def test_a_constant_of_another_width_is_refused(shared, prompts, site: Site, width: int) -> None:
    lm = shared("llama")
    batch = lm.batch(prompts([9, 6]))
    recorded = lm.record(batch, keep=Keep.PREFIX)
    head = 1 if site in OF_A_HEAD else None
    for shape in ((width + 1,), (3, width), (1, 2, width)):
        patch = Patch(site=site, layer=0, head=head, value=Constant(torch.zeros(shape)))
        with pytest.raises(ImpossiblePatch, match=f"Give {width} numbers"):
            lm.replay(recorded, [Intervention((patch,))], batch.label_ids)
