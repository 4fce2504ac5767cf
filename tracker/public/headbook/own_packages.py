"""Whether the packages behind this one are Headbook's own.

`tracker`, `analyses`, `app` and `migrations` are names that other projects use too. Python imports
whichever it finds first, so this looks where each would come from before any of them is imported.
"""

import sys
from functools import cache
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

NAMES = ("analyses", "app", "migrations", "tracker")

_HERE = Path(__file__).resolve().parent
# A wheel has all packages side by side; in a clone this one lies in tracker/public.
_IN_A_CLONE = _HERE.parts[-3:] == ("tracker", "public", "headbook")
_ROOT = _HERE.parents[2] if _IN_A_CLONE else _HERE.parent
_SIGN = b"Headbook"  # in the docstring of each of our packages; pip lets others overwrite files


class ForeignPackage(ImportError):
    """Another package has the name of one of ours, and Python would import it instead."""

    def __init__(self, name: str, place: Path) -> None:
        if owners := _owners(name, place):
            way_out = (
                f"It belongs to {' and '.join(owners)}. Uninstall that and reinstall headbook, or "
                "install headbook into an environment of its own."
            )
        else:
            way_out = (
                "Rename it, take its folder out of PYTHONPATH, or start Python with -P or from "
                "another folder."
            )
        super().__init__(
            f"Headbook cannot run: `import {name}` finds {place}, which is not Headbook's. "
            f"{way_out}",
            name=name,
            path=str(place),
        )


@cache
def check() -> None:
    """Raises `ForeignPackage` before anything foreign is imported."""
    for name in NAMES:
        ours = _ROOT / name / "__init__.py"
        found = _place(name)
        if found != ours or _SIGN not in ours.read_bytes():
            raise ForeignPackage(name, found)


def _place(name: str) -> Path:
    """The file that `import name` runs, or the folder where there is none to run."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else find_spec(name)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).resolve()
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders or ()), _ROOT / name)).resolve()


def _owners(name: str, place: Path) -> list[str]:
    """The other distributions, with their versions, that have installed the file."""
    found = []
    for each in dict.fromkeys(packages_distributions().get(name, ())):
        owner = distribution(each)
        root = Path(str(owner.locate_file(""))).resolve()
        if each != "headbook" and place.is_relative_to(root):
            found.append(f"{each} {owner.version}")
    return found
