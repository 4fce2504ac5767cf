"""Headbook's public interface: the client, and the building blocks of your own analyses.

Names are imported on first use: `import headbook` loads none of Headbook's dependencies. Anything
that is not exported here may change in any version.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from headbook import own_packages

if TYPE_CHECKING:
    from analyses.errors import Refused as Refused
    from analyses.language_model import LanguageModel as LanguageModel
    from analyses.pictures.findings import Findings as Findings
    from analyses.prompts.examples import Example as Example
    from analyses.prompts.sources import Companion as Companion
    from analyses.prompts.spec import DistributionSpec as DistributionSpec
    from analyses.quantities import Quantity as Quantity
    from analyses.registry import Need as Need
    from analyses.registry import Params as Params
    from analyses.registry import analysis as analysis
    from analyses.results import Component as Component
    from analyses.results import Derived as Derived
    from analyses.results import Kind as Kind
    from analyses.results import Measured as Measured
    from analyses.results import NamedTensor as NamedTensor
    from analyses.results import Resampled as Resampled
    from analyses.results import Result as Result
    from analyses.results import ScoreKey as ScoreKey
    from analyses.stored import ScoreDescription as ScoreDescription
    from analyses.stored import TensorDescription as TensorDescription
    from headbook.client import Client as Client
    from headbook.client import NotEnded as NotEnded
    from headbook.client import NoTensor as NoTensor
    from headbook.client import connect as connect
    from tracker.domain import Priority as Priority
    from tracker.domain import RunState as RunState
    from tracker.domain.grid import Grid as Grid
    from tracker.domain.request import InvalidRequest as InvalidRequest
    from tracker.domain.request import RunRequest as RunRequest
    from tracker.errors import TrackerError as TrackerError
    from tracker.results import RunLine as RunLine

    __version__: str

_NAMES = {
    "analyses.errors": ("Refused",),
    "analyses.language_model": ("LanguageModel",),  # loads torch
    "analyses.pictures.findings": ("Findings",),
    "analyses.prompts.examples": ("Example",),
    "analyses.prompts.sources": ("Companion",),
    "analyses.prompts.spec": ("DistributionSpec",),
    "analyses.quantities": ("Quantity",),
    "analyses.registry": ("Need", "Params", "analysis"),
    "analyses.results": (
        *("Component", "Kind", "ScoreKey", "NamedTensor"),
        *("Measured", "Derived", "Resampled", "Result"),
    ),
    "analyses.stored": ("ScoreDescription", "TensorDescription"),
    "headbook.client": ("Client", "NoTensor", "NotEnded", "connect"),
    "tracker.domain": ("Priority", "RunState"),
    "tracker.domain.grid": ("Grid",),
    "tracker.domain.request": ("InvalidRequest", "RunRequest"),
    "tracker.errors": ("TrackerError",),
    "tracker.results": ("RunLine",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *sorted(_MODULES)]


def _imported(name: str) -> Any:
    if name == "__version__":
        return version("headbook")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    own_packages.check()
    try:
        value = getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from headbook.missing import explained

        raise explained(error) from None
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # so that type checkers report unknown names
    __getattr__ = _imported


def __dir__() -> list[str]:
    return __all__
