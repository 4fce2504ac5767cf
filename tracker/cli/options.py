"""Options of a command from the fields of pydantic models, with their meanings and defaults."""

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
    """Fields of a model that a command asks for; of `several`, an option may be given again."""

    model: type[BaseModel]
    names: Collection[str]
    several: Collection[str] = ()
    spelled: Callable[[str], str] = "--{}".format
    usual: Mapping[str, str] = field(default_factory=dict)  # in place of a default, in words

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
        """What was typed, taken out of what the command is given; lists of those of `several`."""
        values = {name: given.pop(f"{place}_{name}") for name in self.names}
        return {
            name: [value] if name in self.several and not self._again(name) else value
            for name, value in values.items()
            if value is not None
        }

    def _again(self, name: str) -> bool:
        """Whether a list of its values is typed, not one value."""
        of = self.model.model_fields[name]
        return name in self.several and not _is_list(of) and of.annotation is not bool

    def _annotation(self, name: str, of: FieldInfo) -> Any:
        """The type and the option of a field; None where nothing is typed."""
        option = self.spelled(name)
        if of.annotation is bool:
            return Annotated[bool | None, _flag(option, of)]
        kind = _kind(of)
        default = ", ".join(of.default) if _is_list(of) else of.default
        return Annotated[
            (list[kind] if self._again(name) or _is_list(of) else kind) | None,  # type: ignore[valid-type]
            typer.Option(
                option,
                help=of.description,
                metavar=f"<{kind.__name__}>" if kind in (int, str) else None,
                show_default=self.usual.get(name, default is not None and str(default)),
            ),
        ]


def options(**places: Fields) -> Callable[[Command], Command]:
    """The command with the options of some fields in place of each of its parameters named here.

    In each place it is given the values that were typed, by field.
    """

    def with_options(command: Command) -> Command:
        @wraps(command)
        def called(**given: Any) -> None:
            command(**{place: each.typed(place, given) for place, each in places.items()}, **given)

        own = signature(command)
        parameters = [
            each
            for name, parameter in own.parameters.items()
            for each in (places[name].parameters(name) if name in places else [parameter])
        ]
        vars(called)["__signature__"] = own.replace(parameters=parameters)
        called.__annotations__ = {each.name: each.annotation for each in parameters}
        return called

    return with_options


def _flag(option: str, of: FieldInfo) -> Any:
    if not of.default:
        return typer.Option(option, help=of.description, show_default=False)
    both = f"{option}/{option.replace('--', '--no-')}"
    return typer.Option(both, help=of.description, show_default=option[2:])


def _is_list(of: FieldInfo) -> bool:
    return get_origin(of.annotation) is tuple


def _kind(of: FieldInfo) -> type:
    """What is typed: a number, a word of a few, or a text that the model checks."""
    kinds = [each for each in (of.annotation, *get_args(of.annotation)) if isinstance(each, type)]
    return next((each for each in kinds if each is int or issubclass(each, StrEnum)), str)
