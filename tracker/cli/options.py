"""Builds options of a command from pydantic fields: their descriptions, types and defaults."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Command = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Fields of a pydantic model that become options; options of `several` may be repeated."""

    model: type[BaseModel]
    names: Collection[str]
    several: Collection[str] = ()
    spelled: Callable[[str], str] = "--{}".format  # the option of a field
    usual: Mapping[str, str] = field(default_factory=dict)  # shown instead of a default value

    def parameters(self, place: str) -> list[Parameter]:
        return [
            Parameter(
                f"{place}_{name}",
                Parameter.KEYWORD_ONLY,
                default=None,
                annotation=self._annotation(name, self.model.model_fields[name]),
            )
            for name in self.names
        ]

    def typed(self, place: str, given: dict[str, Any]) -> dict[str, Any]:
        """Remove this place's options from `given`; their values by field, if any was typed.

        Values of repeatable options are lists.
        """
        values = {name: given.pop(f"{place}_{name}") for name in self.names}
        return {
            name: [value] if name in self.several and not self._repeats(name) else value
            for name, value in values.items()
            if value is not None
        }

    def _repeats(self, name: str) -> bool:
        """Whether the option may be repeated to give several values of the field."""
        info = self.model.model_fields[name]
        return name in self.several and not _is_list(info) and info.annotation is not bool

    def _annotation(self, name: str, info: FieldInfo) -> Any:
        """The annotation of the option of a field; its value is None if it is not typed."""
        option = self.spelled(name)
        if info.annotation is bool:
            return Annotated[bool | None, _flag(option, info)]
        kind = _kind(info)
        default = ", ".join(info.default) if _is_list(info) else info.default
        return Annotated[
            (list[kind] if self._repeats(name) or _is_list(info) else kind) | None,  # type: ignore[valid-type]
            typer.Option(
                option,
                help=info.description,
                metavar=f"<{kind.__name__}>" if kind in (int, str) else None,
                show_default=self.usual.get(name, default is not None and str(default)),
            ),
        ]


def options(**places: Fields) -> Callable[[Command], Command]:
    """Decorate a command: replace each parameter named here by the options of its fields.

    The command receives a dict in its place: the values that were typed, by field.
    """

    def with_options(command: Command) -> Command:
        @wraps(command)
        def called(**given: Any) -> None:
            typed = {place: fields.typed(place, given) for place, fields in places.items()}
            command(**typed, **given)

        own = signature(command)
        parameters = [
            parameter
            for name, declared in own.parameters.items()
            for parameter in (places[name].parameters(name) if name in places else [declared])
        ]
        vars(called)["__signature__"] = own.replace(parameters=parameters)
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return with_options


def _flag(option: str, info: FieldInfo) -> Any:
    if not info.default:
        return typer.Option(option, help=info.description, show_default=False)
    both = f"{option}/{option.replace('--', '--no-')}"
    return typer.Option(both, help=info.description, show_default=option[2:])


def _is_list(info: FieldInfo) -> bool:
    return get_origin(info.annotation) is tuple


def _kind(info: FieldInfo) -> type:
    """The type of an option: a number, one of a few words, or text that pydantic checks."""
    annotations = info.annotation, *get_args(info.annotation)
    kinds = [kind for kind in annotations if isinstance(kind, type)]
    return next((kind for kind in kinds if kind is int or issubclass(kind, StrEnum)), str)
