"""Interventions of every kind, on every layer of a small model."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from analyses.engine.interventions import (
    OF_A_HEAD,
    READS,
    ZERO,
    Apply,
    Constant,
    Intervention,
    Patch,
    Path,
    Site,
    Subspace,
)
from analyses.language_model import LanguageModel
from analyses.prompts.tokenization import TokenizedPrompt

LENGTHS = (11, 6, 9)
SOURCE_LENGTHS = (12, 9, 9)  # where keys are read, a source reaches as far
SOME = ((3, 7), (2,), (0, 8))  # positions of each prompt
EVERY = tuple(tuple(range(length)) for length in LENGTHS)
HEAD = 1  # where one head stands for all

NO_VALUE: dict[str, Any] = {}  # of a patch: its own default


def some_prompts(lengths: tuple[int, ...], seed: int) -> list[TokenizedPrompt]:
    """Every token is a label, so that all logits are compared."""
    random = torch.Generator().manual_seed(seed)
    return [
        TokenizedPrompt(
            number=number,
            item="",
            input_ids=tuple(torch.randint(60, (length,), generator=random).tolist()),
            label_ids=tuple(range(60)),
            correct=(0,),
        )
        for number, length in enumerate(lengths)
    ]


BASE, SOURCES = some_prompts(LENGTHS, 0), some_prompts(SOURCE_LENGTHS, 1)


def alone(*patches: Patch) -> list[Intervention]:
    return [Intervention((patch,)) for patch in patches]


def places(lm: LanguageModel) -> Iterator[tuple[int, int]]:
    return ((layer, head) for layer in range(lm.shape.n_layers) for head in range(lm.shape.n_heads))


def layers(lm: LanguageModel) -> range:
    return range(lm.shape.n_layers)


def width(lm: LanguageModel, site: Site, layer: int = 0) -> int:
    return lm.shape.layers[layer].width(site)


def confined(d: int, rank: int = 3) -> Apply:
    random = torch.Generator().manual_seed(2)
    basis, _ = torch.linalg.qr(torch.randn(d, rank, generator=random))
    return Apply(Subspace(0.1 * torch.randn(d, generator=random), basis))


def low_of(lm: LanguageModel, site: Site, layer: int = 0) -> Apply:
    """What is left of one head's vectors in a few dimensions."""
    return confined(width(lm, site, layer))


def heads(lm: LanguageModel) -> list[Intervention]:
    return alone(*(Patch(site=Site.Z, layer=layer, head=head) for layer, head in places(lm)))


def writes(lm: LanguageModel) -> list[Intervention]:
    sites = (Site.ATTN_OUT, Site.MLP_OUT, Site.RESID_PRE, Site.RESID_POST)
    return alone(*(Patch(site=site, layer=layer) for layer in layers(lm) for site in sites))


def ablations(lm: LanguageModel) -> list[Intervention]:
    one_each = Constant(torch.linspace(-1, 1, 3)[:, None].expand(-1, lm.shape.d_model))
    return alone(
        *(Patch(site=Site.Z, layer=layer, head=head, value=ZERO) for layer, head in places(lm)),
        *(Patch(site=Site.MLP_OUT, layer=layer, value=one_each) for layer in layers(lm)),
        *(Patch(site=Site.MLP_OUT, layer=layer, value=Apply(torch.relu)) for layer in layers(lm)),
    )


def reads(lm: LanguageModel) -> list[Intervention]:
    return alone(
        *(
            Patch(site=site, layer=layer, head=HEAD, **choice)
            for layer in layers(lm)
            for site in (Site.Q, Site.K, Site.V)
            for d in [width(lm, site, layer)]
            for choice in (NO_VALUE, {"value": confined(d)}, {"value": Constant(torch.ones(d))})
        ),
        *(
            Patch(site=site, layer=layer, head=HEAD, value=low_of(lm, site, layer), at=SOME)
            for layer in layers(lm)
            for site in (Site.K, Site.V)
        ),
    )


def reread(lm: LanguageModel) -> list[Intervention]:
    """One head that reads keys or values otherwise at one place, and otherwise again at another."""
    places = (2, 3)  # from the end, where windows reach
    given: list[tuple[Site, list[Any]]] = [
        (site, [Constant(torch.ones(width(lm, site))), low_of(lm, site)])
        for site in (Site.K, Site.V)
    ]
    return [
        Intervention(
            tuple(
                Patch(
                    site=site,
                    layer=0,
                    head=HEAD,
                    value=value,
                    at=tuple((length - back,) for length in LENGTHS),
                )
                for back, value in zip(places, values, strict=True)
            ),
            path,
        )
        for site, values in given
        for path in Path
    ]


def before_rotary(lm: LanguageModel) -> list[Intervention]:
    return alone(
        *(
            Patch(site=site, layer=layer, head=head, before_rotary=True, **choice)
            for layer, head in places(lm)
            for site in (Site.Q, Site.K, Site.V)
            for choice in (NO_VALUE, {"value": low_of(lm, site, layer)})
        ),
        *(
            Patch(
                site=Site.K,
                layer=layer,
                head=HEAD,
                value=low_of(lm, Site.K, layer),
                at=SOME,
                before_rotary=True,
            )
            for layer in layers(lm)
        ),
    )


def several(lm: LanguageModel) -> list[Intervention]:
    patches = (
        Patch(site=Site.Q, layer=0, head=0),
        Patch(site=Site.K, layer=0, head=0, value=low_of(lm, Site.K, 0)),
        Patch(site=Site.V, layer=0, head=0, value=low_of(lm, Site.V, 0)),
        Patch(site=Site.Z, layer=0, head=1),
        Patch(site=Site.Z, layer=0, head=2, value=low_of(lm, Site.Z)),
        Patch(site=Site.MLP_OUT, layer=0, value=Apply(torch.sin)),
        Patch(site=Site.Z, layer=1, head=3, value=ZERO),
        Patch(site=Site.Q, layer=1, head=1, value=low_of(lm, Site.Q, 1)),
        Patch(site=Site.ATTN_OUT, layer=1, value=Apply(torch.sin)),
        Patch(site=Site.MLP_OUT, layer=1),
    )
    return [Intervention(patches[:count], path) for count in range(1, 11) for path in Path]


def direct(lm: LanguageModel) -> list[Intervention]:
    return [
        Intervention(
            (Patch(site=site, layer=layer, head=HEAD if site in OF_A_HEAD else None),), path
        )
        for layer in layers(lm)
        for site in Site
        for path in [Path.DIRECT]
    ]


def elsewhere(lm: LanguageModel, at: tuple[tuple[int, ...], ...] = SOME) -> list[Intervention]:
    return alone(
        *(
            Patch(site=site, layer=layer, head=HEAD if site in OF_A_HEAD else None, at=at)
            for layer in layers(lm)
            for site in Site
            if site not in READS
        ),
        Patch(site=Site.Z, layer=0, head=HEAD, value=low_of(lm, Site.Z), at=((), (5,), (1,))),
    )


def everywhere(lm: LanguageModel) -> list[Intervention]:
    found = elsewhere(lm, EVERY)[:-1]
    together = tuple(each.patches[0] for each in found)
    return [*found, Intervention((*together, Patch(site=Site.K, layer=1, head=2)))]


KINDS: dict[str, Callable[[LanguageModel], list[Intervention]]] = {
    kind.__name__: kind
    for kind in (
        heads,
        writes,
        ablations,
        reads,
        reread,
        before_rotary,
        several,
        direct,
        elsewhere,
        everywhere,
    )
}
