"""Indirect objects: two persons are named, one of them gives something to the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from analyses.prompts.completions import Completion, CompletionItem
from analyses.prompts.slots import filled
from analyses.prompts.streams import Stream
from analyses.prompts.task_files import read

ORDERS = ("ABBA", "BABA")  # the indirect object is A, the subject is B
EACH = 30  # items of every template in each order


@dataclass(frozen=True)
class _Scene:
    """Who and what an item is about; `giver` is the subject of the last clause."""

    io: str
    subject: str
    giver: str
    place: str
    object: str


def items(counterfactual: str) -> Iterator[CompletionItem]:
    """`swap` exchanges the two persons everywhere; in `abc` a third person is the giver.

    A counterfactual has the candidates of its item, in the same order. After `abc` none of them
    is right; it keeps the correct one of its item, so that the same difference is measured.
    """
    described = read("ioi")
    for name, template in described["templates"].items():
        for order in ORDERS:
            for scene, third in _scenes(described, name, order):
                yield _item(described["topic"], name, template, order, scene, third, counterfactual)


def _scenes(
    described: Mapping[str, Any], template: str, order: str
) -> Iterator[tuple[_Scene, str]]:
    """Each with a third name; no two have the same two persons."""
    stream = Stream("ioi", template, order)
    seen: set[frozenset[str]] = set()
    while len(seen) < EACH:
        io, subject, third = stream.sample(described["names"], 3)
        if frozenset((io, subject)) in seen:
            continue
        seen.add(frozenset((io, subject)))
        place, thing = (stream.choice(described[each]) for each in ("places", "objects"))
        yield _Scene(io=io, subject=subject, giver=subject, place=place, object=thing), third


def _item(
    topic: str,
    name: str,
    template: str,
    order: str,
    scene: _Scene,
    third: str,
    counterfactual: str,
) -> CompletionItem:
    candidates = scene.io, scene.subject
    other = {
        "swap": replace(scene, io=scene.subject, subject=scene.io, giver=scene.io),
        "abc": replace(scene, giver=third),
    }[counterfactual]
    return CompletionItem(
        id=f"{name} {order}/{scene.io}, {scene.subject}",
        topic=topic,
        unit=name,
        asked=_completion(template, order, scene, candidates),
        counterfactual=_completion(template, order, other, candidates),
        groups={"template": name, "order": order},
    )


def _completion(
    template: str, order: str, scene: _Scene, candidates: tuple[str, str]
) -> Completion:
    abba = order == "ABBA"
    first, second = (scene.io, scene.subject) if abba else (scene.subject, scene.io)
    text, spans = filled(
        template,
        {
            "first": first,
            "second": second,
            "subject": scene.giver,
            "place": scene.place,
            "object": scene.object,
        },
    )
    io, s1 = ("first", "second") if abba else ("second", "first")
    return Completion(
        text=text,
        joint=" ",
        candidates=candidates,
        correct=(candidates.index(scene.io),),
        spans={"io": spans[io], "s1": spans[s1], "s2": spans["subject"]},
    )
