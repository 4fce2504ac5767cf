"""The source of a plugin that is good when it is tried, and misbehaves where it is told to.

The parameter `way` is `PLACE:ACT`: which of its functions does what.
"""

WAYWARD = '''
import gc, io, itertools, os, random, sys, time
import numpy as np
from pydantic import Field, field_validator
from analyses.quantities import Quantity
from analyses.registry import Params, analysis
from analyses.results import MODEL, Component, Derived, Kind, Measured, NamedTensor, Resampled
from analyses.results import ScoreKey
from analyses.stored import ScoreDescription

AS_USUAL = object()
ONE = ScoreKey(MODEL, Quantity("one"))


def key(metric, component=MODEL, site="", x=0.0, **varied):
    return ScoreKey(component, Quantity(metric, site, varied), x)


def raise_(error):
    raise error


def change_the_process():
    import torch
    os.chdir("/")
    os.environ["DATABASE_URL"] = "postgresql://elsewhere/"
    sys.path.insert(0, "/elsewhere")
    sys.stdout = io.StringIO()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(True)
    gc.disable()
    return AS_USUAL


def say():
    print("said by the plugin")
    os.write(1, b"said by the plugin")
    return AS_USUAL


def fork():
    os.fork()
    return AS_USUAL


class Endless(dict):
    def __iter__(self):
        return (key(str(number)) for number in itertools.count())
    def items(self):
        return ((each, 1.0) for each in self)


ACTS = {
    "raises": lambda: 1 / 0,
    "exits": lambda: sys.exit(0),
    "interrupts": lambda: raise_(KeyboardInterrupt()),
    "ends": lambda: raise_(GeneratorExit()),
    "leaves": lambda: os._exit(0),
    "kills": lambda: os.kill(os.getppid(), 9),
    "closes": lambda: os.closerange(3, 4096),
    "hangs": lambda: time.sleep(1e6),
    "changes": change_the_process,
    "says": say,
    "forks": fork,
    "nothing": lambda: None,
    "text": lambda: "rubbish",
    "number": lambda: 3,
    "unkeyed": lambda: {"one": 1.0},
    "endless": lambda: itertools.count(),
    "endless_map": Endless,
    "not_finite": lambda: {key("odd"): float("nan")},
    "no_number": lambda: {key("odd"): "many"},
    "escapes": lambda: {key("\\x1b[31mred"): 1.0},
    "calculates": lambda: {key("=1+1"): 1.0},
    "unknown": lambda: {key("share"): (key("this"), key("that"))},
    "long": lambda: {key("x" * 10_000): 1.0},
    "deep": lambda: {key("one", component=Component(kind=Kind.HEAD, layer=10**9, index=0)): 1.0},
    "far": lambda: {key("one", x=float("inf")): 1.0},
    "resampling": lambda: Derived(
        numbers={key("total"): 1.0},
        resampled=lambda draws: (Resampled(key("no"), np.ones(1)) for _ in itertools.count()),
    ),
}


def do(place, params):
    where, _, act = params.way.partition(":")
    return ACTS[act]() if where == place else AS_USUAL


class WaywardParams(Params):
    way: str = ""

    @field_validator("way")
    @classmethod
    def _checked(cls, way):
        if way.startswith("validator:"):
            ACTS[way.partition(":")[2]]()
        return way

    @property
    def companions(self):
        given = do("companions", self)
        return () if given is AS_USUAL else given

    def needs(self, spec):
        given = do("needs", self)
        return () if given is AS_USUAL else given

    def check(self, model, spec):
        do("check", self)

    def check_places(self, places):
        do("places", self)


def answer(place, params, usual):
    given = do(place, params)
    return usual if given is AS_USUAL else given


def told(keys, place):
    """What a run is told to do where no parameters are given: its score says so."""
    return [key.quantity.condition for key in keys if key.quantity.site == place]


def draw(found):
    for act in told(found.scores, "draw"):
        ACTS[act]()


def share(keys):
    return ACTS[told(keys, "ratios")[0]]() if told(keys, "ratios") else {}


@analysis(
    "wayward",
    version=1,
    params=WaywardParams,
    stores=[ScoreDescription(metric="one", meaning="one")],
    headline=Quantity("one"),
    summarise=lambda means, params: answer("summarise", params, {}),
    derive=lambda measured, params: answer("derive", params, Derived()),
    warns=lambda means, params: answer("warns", params, []),
    ratios=share,
    plots={"own": draw},
)
def wayward(lm, prompts, params, progress):
    """One for each prompt."""
    place, _, act = params.way.partition(":")
    one = key("one", site=place, of=act) if place in ("ratios", "draw") else ONE
    given = do("measure", params)
    ones = np.ones(len(prompts), np.float32)
    if isinstance(given, Endless):
        return Measured(scores=given)
    if isinstance(given, dict):
        return Measured(scores={each: ones for each in given})
    if given == "rubbish":
        return Measured(scores={ONE: ones}, tensors={"rubbish": given})
    return Measured(scores={one: ones}) if given is AS_USUAL else given
'''
