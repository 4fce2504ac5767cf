"""What the shipped model does: a circuit that is known, so the methods must find it."""

import numpy as np
import pytest
from studied import of, read_for, result, run

from analyses.confined import SET
from analyses.language_model import LanguageModel
from analyses.methods.attribution import AttributionParams, attribution
from analyses.methods.bases import BasesParams, bases, derive
from analyses.methods.cumulative import (
    CumulativeParams,
    area_and_sets,
    cumulative,
    read_by_summary,
)
from analyses.methods.label_randomisation import (
    LabelRandomisationParams,
    label_randomisation,
)
from analyses.methods.patching import PatchingParams, patching
from analyses.methods.subspace import RANDOM, SubspaceParams, subspace
from analyses.organism.export import SHIPPED
from analyses.prompts.sources import SourceKind
from analyses.quantities import Varied
from analyses.results import MODEL, Kind, Result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("findings"),  # what is learnt is learnt once
]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel.load(SHIPPED)


@pytest.fixture(scope="module")
def learnt(lm: LanguageModel) -> dict[str, Result]:
    prompts = read_for(lm, size=64, split="train", kinds=[SourceKind.PERMUTE_OPTIONS])
    vectors = run(bases, lm, prompts, BasesParams())
    effects = run(patching, lm, prompts, PatchingParams(batch_size=32))
    return {"bases": result(vectors, derive(vectors, BasesParams())), "effects": result(effects)}


def test_patching_and_attribution_agree_on_the_strongest_heads(lm, learnt) -> None:
    attributed = run(attribution, lm, read_for(lm, size=64), AttributionParams(batch_size=32))
    heads = [key.component for key in attributed.scores if key.component.kind is Kind.HEAD]
    own = [of(attributed, component=head, metric="logit_attribution").mean() for head in heads]
    direct = {"metric": "direct_effect", "site": "z", "condition": "logit_diff"}
    patched = [-of(learnt["effects"], component=head, **direct).mean() for head in heads]
    ranks = [np.abs(each).argsort().argsort() for each in (own, patched)]
    assert np.asarray(np.corrcoef(ranks))[0, 1] > 0.7  # Spearman's
    strongest = [np.argsort(each)[::-1][:5].tolist() for each in (own, patched)]
    assert set(strongest[0]) == set(strongest[1])
    assert {heads[number].layer for number in strongest[0]} == {3}


def test_few_components_recover_the_answer(lm, learnt) -> None:
    prompts = read_for(lm, size=32, kinds=[SourceKind.PERMUTE_OPTIONS])
    params = CumulativeParams(batch_size=32)
    found = result(run(cumulative, lm, prompts, params, inputs=learnt))
    read = {key: mean for key, mean in found.means.items() if read_by_summary(key)}
    sets = {
        key.x: value
        for key, value in area_and_sets(read, params).items()
        if key.quantity.metric == "smallest_set"
    }
    assert sets[0.8] <= 6
    assert sets[0.9] <= 8


def test_queries_and_keys_compress_to_few_dimensions_and_placebos_do_not(lm, learnt) -> None:
    params = SubspaceParams(strongest=6, ranks=(1, 2, 3), placebo_ranks=(1, 2), batch_size=32)
    found = result(run(subspace, lm, read_for(lm, size=32), params, inputs=learnt))

    def kept(rank: float, condition: Varied | str = "") -> float:
        site = {"component": SET, "metric": "logit_diff", "site": "qk"}
        nothing, everything, here = (
            of(found, **site, condition=of_which, x=x).mean()
            for of_which, x in (("", 0), ("", lm.shape.d_head), (condition, rank))
        )
        return float((here - nothing) / (everything - nothing))

    assert kept(1) > 0.9
    assert kept(3) > 0.95
    assert kept(1, RANDOM) < 0.5
    assert kept(2, RANDOM) < 0.6


def test_the_low_rank_picture_is_only_part_of_the_story(lm, learnt) -> None:
    """On labels in their own order nothing is lost; shuffled labels lose more."""
    params = LabelRandomisationParams(strongest=6, rank=3, batch_size=32)
    prompts = read_for(lm, size=64, kinds=params.companions)
    found = run(label_randomisation, lm, prompts, params, inputs=learnt)

    def drop(mutation: str) -> float:
        confined = {"component": SET, "metric": "logit_diff_drop", "site": "qk"}
        whole = {"component": MODEL, "metric": "logit_diff"}
        said = {"condition": f"mutation={mutation}"}
        return float(of(found, **confined, **said).mean() / of(found, **whole, **said).mean())

    assert drop("none") < 0.02
    assert drop("shuffled") > 3 * abs(drop("none"))
    follows = {"component": SET, "condition": "interchange"}
    assert of(found, **follows, metric="follows_symbol", site="z").mean() > 0.6  # carried by z
    assert of(found, **follows, metric="stays", site="q").mean() > 0.9  # q asks, keys tell
    keys = {
        name: of(found, **follows, metric=name, site="k").mean()
        for name in ("follows_position", "follows_symbol")
    }
    assert keys["follows_position"] > keys["follows_symbol"]
