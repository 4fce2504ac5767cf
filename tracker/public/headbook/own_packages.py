"""Checks that Headbook's internal packages would be imported from Headbook.

Other projects also use the names `tracker`, `analyses`, `app` and `migrations`. Python imports the
first match, so this checks the location of each before any of them is imported.
"""

import sys
from functools import cache
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

NAMES = ("analyses", "app", "migrations", "tracker")

_HERE = Path(__file__).resolve().parent
# A wheel installs all packages side by side; in a clone this one is in tracker/public.
_IN_A_CLONE = _HERE.parts[-3:] == ("tracker", "public", "headbook")
_ROOT = _HERE.parents[2] if _IN_A_CLONE else _HERE.parent
_MARKER = b"Headbook"  # in the docstring of our packages; pip lets other wheels overwrite files


class ForeignPackage(ImportError):
    """Python would import another package that has the name of one of ours."""

    def __init__(self, name: str, place: Path) -> None:
        if owners := _owners(name, place):
            advice = (
                f"It belongs to {' and '.join(owners)}. Uninstall that and reinstall headbook, or "
                "install headbook into an environment of its own."
            )
        else:
            advice = (
                "Rename it, remove its folder from PYTHONPATH, or start Python with -P or from "
                "another folder."
            )
        super().__init__(
            f"Headbook cannot run: `import {name}` finds {place}, which is not Headbook's. "
            f"{advice}",
            name=name,
            path=str(place),
        )


@cache
def check() -> None:
    """Raises `ForeignPackage` if a package of one of our names is not ours; imports none."""
    for name in NAMES:
        ours = _ROOT / name / "__init__.py"
        place = _place(name)
        if place != ours or _MARKER not in ours.read_bytes():
            raise ForeignPackage(name, place)


def _place(name: str) -> Path:
    """The file that `import name` would run, or the folder of a namespace package."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else find_spec(name)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).resolve()
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(folders or ()), _ROOT / name)).resolve()


def _owners(name: str, place: Path) -> list[str]:
    """The other distributions that have installed the file, with their versions."""
    owners = []
    for project in dict.fromkeys(packages_distributions().get(name, ())):
        owner = distribution(project)
        root = Path(str(owner.locate_file(""))).resolve()
        if project != "headbook" and place.is_relative_to(root):
            owners.append(f"{project} {owner.version}")
    return owners
