"""Writes a request as options of `headbook submit`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analyses.prompts.spec import PARTS, DistributionSpec

if TYPE_CHECKING:
    from tracker.domain.request import RunRequest

Path = tuple[str, ...]  # the location of a value in a request: ("recipe", "size")

MOST_SHOWN = 100  # characters of a value in the name of a cell
_RENAMED = {  # options that are named differently from their field of the recipe
    "name": "--distribution",
    "size": "--prompts",
    "seed": "--prompt-seed",
    "choices_columns": "--choices-column",
    "group_columns": "--group-column",
}


def of_recipe(field: str) -> str:
    """The option for a field of the recipe."""
    return _RENAMED.get(field) or "--" + field.replace("_", "-")


def words(request: "RunRequest") -> Iterator[str]:
    """The request as arguments of `headbook submit`."""
    yield request.analysis
    yield from _option("--model", request.model)
    yield from _recipe(request.recipe)
    for name, value in request.parameters.items():
        yield from _option("--param", f"{name}={written(value)}", short="-p")
    for field, value in request.said.items():
        if field in ("analysis", "model", "recipe", "parameters"):
            continue
        yield from [f"--{field}"] if value is True else _option(f"--{field}", str(value))


def _recipe(recipe: DistributionSpec) -> Iterator[str]:
    yield from _name(recipe)
    for field, value in recipe.said.items():
        option = of_recipe(field)
        if field in PARTS:
            continue
        if isinstance(value, bool):
            yield option if value else option.replace("--", "--no-")
            continue
        for item in value if isinstance(value, list) else [value]:
            yield from _option(option, str(item))


def _name(recipe: DistributionSpec) -> Iterator[str]:
    """The name, or its parts if file names in it would make the name ambiguous."""
    if (name := recipe.short_name) is not None:
        yield from _option(of_recipe("name"), name)
        return
    for part in PARTS:
        yield from _option(of_recipe(part), getattr(recipe, part))


def _option(option: str, value: str, *, short: str = "") -> list[str]:
    return [f"{option}={value}"] if value.startswith("-") else [short or option, value]


def written(value: Any) -> str:
    """The value of a parameter as JSON, or as plain text if it is printable and not valid JSON."""
    if not isinstance(value, str) or not value.isprintable() or _is_json(value):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def told_apart(requests: Sequence["RunRequest"]) -> list[str]:
    """How each request differs from the others, as options of a shell command."""
    flat = [_flat(request) for request in requests]
    paths = dict.fromkeys(path for fields in flat for path in fields)
    varied = [path for path in paths if len({repr(fields.get(path)) for fields in flat}) > 1]
    return [cell({path: fields[path] for path in varied if path in fields}) for fields in flat]


def _flat(request: "RunRequest") -> dict[Path, Any]:
    recipe = request.recipe.model_dump(mode="json", exclude=set(PARTS))
    name = request.recipe.short_name or request.recipe.name
    return {
        ("analysis",): request.analysis,
        ("model",): request.model,
        **{("recipe", field): value for field, value in {"name": name, **recipe}.items()},
        ("seed",): request.seed,
        **{("parameters", name): value for name, value in request.parameters.items()},
        **{(field,): getattr(request, field) for field in ("priority", "study", "force")},
    }


def cell(varied: Mapping[Path, Any]) -> str:
    """How a request differs from others of its grid, as options of a shell command."""
    return " ".join(_assignment(path, value) for path, value in varied.items())


def _assignment(path: Path, value: Any) -> str:
    match path:
        case ("parameters", name):
            return f"-p {name}={_short(written(value))}"
        case ("recipe", field):
            return f"{of_recipe(field)}={_short(_plain(value))}"
        case ("analysis",):
            return _short(_plain(value))
    return f"--{path[0]}={_short(_plain(value))}"


def _plain(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
