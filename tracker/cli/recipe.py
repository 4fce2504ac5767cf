"""The options of a command that makes a prompt distribution, from the fields of the recipe."""

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_origin

import typer
from pydantic.fields import FieldInfo

from analyses.prompts.spec import DistributionSpec
from tracker.domain.options import of_recipe

Name = Annotated[str, typer.Argument(help="E.g. facts/chinchilla/ABCD, or facts.")]
Command = Callable[..., None]


def options(
    *, several: bool = False, without: Collection[str] = (), usual: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """The command with an option for each field in place of its parameter `recipe`.

    It is given what was typed, by field: a value, or the list of its values where `several` may be.
    `usual` says what a field is where nothing is typed and that is not its default.
    """
    fields = {
        Parameter(
            f"recipe_{name}",
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(name, field, several, (usual or {}).get(name)),
        ): name
        for name, field in DistributionSpec.model_fields.items()
        if name not in without
    }

    def with_options(command: Command) -> Command:
        @wraps(command)
        def called(**given: Any) -> None:
            typed = {name: given.pop(parameter.name) for parameter, name in fields.items()}
            recipe = {name: value for name, value in typed.items() if value is not None}
            if several:
                recipe = {name: _values(name, value) for name, value in recipe.items()}
            command(recipe=recipe, **given)

        own = signature(command)
        parameters = [
            each
            for parameter in own.parameters.values()
            for each in (fields if parameter.name == "recipe" else [parameter])
        ]
        vars(called)["__signature__"] = own.replace(parameters=parameters)
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return with_options


def _values(name: str, typed: Any) -> list[Any]:
    """The values of a field: columns that are given again are one value, as a flag is."""
    varied = isinstance(typed, list) and not _is_list(DistributionSpec.model_fields[name])
    return typed if varied else [typed]


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _annotation(name: str, field: FieldInfo, several: bool, usual: str | None) -> Any:
    """The type and the option of a field; None where nothing is typed."""
    option, said = of_recipe(name), field.description
    if field.annotation is bool:
        off = option.replace("--", "--no-")
        default = option if field.default else off
        return Annotated[
            bool | None,
            typer.Option(f"{option}/{off}", help=said, show_default=default.lstrip("-")),
        ]
    kind = int if field.annotation is int else str
    default = ", ".join(field.default) if _is_list(field) else str(field.default)
    typed = list[kind] if several or _is_list(field) else kind  # type: ignore[valid-type]
    metavar = f"<{kind.__name__}>"
    return Annotated[
        typed | None,
        typer.Option(option, help=said, metavar=metavar, show_default=usual or default),
    ]
