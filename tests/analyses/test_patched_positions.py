"""Which positions and sites can be patched: parameters, names of positions, refusals."""

import re

import pytest
from completed import prompt
from tokenizers import Tokenizer

from analyses import registry
from analyses.checkpoints.shapes import LayerShape
from analyses.errors import Refused
from analyses.methods.patching import PatchingParams
from analyses.position_maps import named
from analyses.prompts.completion_places import CompletionPlaces
from analyses.prompts.locating import places
from analyses.prompts.spec import DistributionSpec

LAYER = LayerShape(n_heads=4, n_kv_heads=2, d_qk=8, d_v=8)


class Model:
    def __init__(self, n_layers: int) -> None:
        self.layers = (LAYER,) * n_layers


def places_of(final: int, **spans: tuple[int, int]) -> CompletionPlaces:
    return CompletionPlaces(number=0, final=final, spans=spans, labels=())


def test_tokens_are_named_by_the_span_before_them_and_the_last_is_the_end() -> None:
    """Of 'When Ada and Bea Smith met , Ada told', with three spans of two names."""
    found = places_of(8, io=(3, 4), s1=(1, 1), s2=(7, 7)).named_positions
    assert list(found) == ["start", "s1", "s1+1", "io[0]", "io[1]", "io+1", "io+2", "s2", "end"]
    assert list(found.values()) == list(range(9))


@pytest.mark.parametrize(
    ("spans", "names"),
    [
        ({}, ["start", "start+1", "start+2", "end"]),
        ({"a": (0, 0)}, ["a", "a+1", "a+2", "end"]),
        ({"a": (2, 3)}, ["start", "start+1", "a[0]", "end"]),
        ({"all": (0, 2), "mid": (1, 1)}, ["all[0]", "mid", "all[2]", "end"]),
    ],
)
def test_every_token_has_one_name(spans, names) -> None:
    assert list(places_of(3, **spans).named_positions.items()) == [
        (name, position) for position, name in enumerate(names)
    ]


def test_positions_are_those_of_the_tokens(tokenizer: Tokenizer) -> None:
    made = prompt(0, 0, {"who": "A", "what": "xy"})
    found = named(places(tokenizer, made))
    ids = tokenizer.encode(made.text).ids
    told = {name: tokenizer.decode([ids[at]]) for name, at in found.items()}
    assert (told["who"].strip(), told["what[0]"], told["what[1]"]) == ("A", "x", "y")
    assert told["end"] == "1"
    assert len(told) == len(ids)


def test_completions_are_patched_from_their_counterfactuals_unless_asked_otherwise() -> None:
    for name in ("patching", "cumulative", "subspace", "categorise"):
        params = registry.find(name).params
        assert params.usual(DistributionSpec(data="ioi"))["source"] == "paired"
        assert params.usual(DistributionSpec(data="colours")) == {}
        assert params().model_dump()["source"] == "permute_options"


def test_what_a_request_about_questions_is_stored_as_has_not_changed() -> None:
    """The text of parameters is part of a run's fingerprint."""
    asked = PatchingParams(positions="label", key_site="content_end", sites=("k", "attn_out"))
    assert asked.model_dump(mode="json") == {
        "batch_size": 8,
        "prompts": "all",
        "source": "permute_options",
        "direction": "noise",
        "sites": ["k", "attn_out"],
        "positions": "label",
        "key_site": "content_end",
    }


def test_a_map_is_of_the_residual_attention_and_mlps_unless_asked_otherwise() -> None:
    assert PatchingParams(positions="each").sites == ("resid_pre", "attn_out", "mlp_out")
    assert PatchingParams(positions="each", sites=("mlp_out",)).sites == ("mlp_out",)
    said = "is of whole layers and does not take z, k. Choose sites from resid_pre, attn_out"
    with pytest.raises(Refused, match=re.escape(said)):
        PatchingParams(positions="each", sites=("z", "k", "mlp_out"))
    with pytest.raises(Refused, match="cannot replace resid_pre"):
        PatchingParams(source="mean", sites=("resid_pre",))


def test_a_place_that_a_prompt_lacks_is_named_beside_those_it_has() -> None:
    some = places_of(8, io=(3, 4), s1=(1, 1))
    model = Model(2)
    PatchingParams(positions="io").check_prompts(model, [some])
    with pytest.raises(Refused, match=r"Invalid positions 's2'.* Choose from final, each, io, s1"):
        PatchingParams(positions="s2").check_prompts(model, [some])
    PatchingParams(key_site="label").check_prompts(model, [some])  # no keys are patched
    with pytest.raises(Refused, match=r"Invalid key_site 'label': .* Choose from io, s1"):
        PatchingParams(sites=("k",)).check_prompts(model, [some])


def test_a_map_of_too_many_effects_is_refused_with_their_number() -> None:
    each = PatchingParams(positions="each")
    long, other = places_of(89), places_of(90, io=(3, 4))
    each.check_prompts(Model(30), [long])
    said = "30 layers, 3 sites and 177 positions has 15930 effects, and the maximum is 8192"
    with pytest.raises(Refused, match=said):
        each.check_prompts(Model(30), [long, other])
