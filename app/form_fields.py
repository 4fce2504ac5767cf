"""The fields of a form, read from the JSON schema of a pydantic model."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel


class FieldKind(StrEnum):
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "string"
    CHOICE = "choice"
    LIST = "array"  # written with commas
    JSON = "json"  # whatever else: written as JSON


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field as a form asks for it; bounds are inclusive."""

    name: str
    title: str
    description: str | None
    kind: FieldKind
    default: Any = None
    optional: bool = False  # may be left empty
    least: float | None = None
    most: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    item: FieldKind = FieldKind.TEXT  # of a list
    of_files: bool = False  # says how a person's own file is read

    @property
    def text(self) -> str:
        """The default of a field that is written as text."""
        if self.default is None:
            return ""
        if self.kind is FieldKind.LIST:
            return ", ".join(str(each) for each in self.default)
        return json.dumps(self.default) if self.kind is FieldKind.JSON else str(self.default)

    def value(self, given: Any) -> Any:
        """What a widget holds, as the model wants it.

        What cannot be read stays as it was written: the model itself says what is wrong with it.
        """
        if self.optional and given in ("", None):
            return None
        if self.kind is FieldKind.LIST:
            return [_read(each.strip(), self.item) for each in given.split(",") if each.strip()]
        return _read(given, FieldKind.JSON) if self.kind is FieldKind.JSON else given


def fields_of(model: type[BaseModel]) -> list[FormField]:
    """A form's field for each field of the model, in its order."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    return [
        _field(name, each, definitions, required=name in required)
        for name, each in schema.get("properties", {}).items()
    ]


def _field(
    name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> FormField:
    branches = [_resolved(each, definitions) for each in schema.get("anyOf", (schema,))]
    kinds = [each for each in branches if each.get("type") != "null"]
    shape = kinds[0] if len(kinds) == 1 else {}
    kind = _kind(shape)
    items = _kind(_resolved(shape.get("items", {}), definitions))
    if kind is FieldKind.LIST and items in (FieldKind.LIST, FieldKind.JSON):
        kind = FieldKind.JSON
    return FormField(
        name=name,
        title=schema.get("title") or name,
        description=schema.get("description"),
        kind=kind,
        default=schema.get("default"),
        optional=len(kinds) < len(branches) and not required,
        least=_bound(shape, kind, "minimum", "exclusiveMinimum", +1),
        most=_bound(shape, kind, "maximum", "exclusiveMaximum", -1),
        step=shape.get("multipleOf"),
        choices=tuple(shape.get("enum", (shape["const"],) if "const" in shape else ())),
        item=items,
        of_files=schema.get("of_files", False),
    )


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def _kind(schema: Mapping[str, Any]) -> FieldKind:
    if "enum" in schema or "const" in schema:
        return FieldKind.CHOICE
    kind = schema.get("type")
    if kind == FieldKind.LIST and "items" not in schema:
        return FieldKind.JSON
    return FieldKind(kind) if kind in set(FieldKind) else FieldKind.JSON


def _bound(
    schema: Mapping[str, Any], kind: FieldKind, inclusive: str, exclusive: str, inward: int
) -> float | None:
    if inclusive in schema or exclusive not in schema:
        found: float | None = schema.get(inclusive)
        return found
    edge: float = schema[exclusive]
    return edge + inward if kind is FieldKind.INTEGER else math.nextafter(edge, inward * math.inf)


def _read(text: str, kind: FieldKind) -> Any:
    try:
        match kind:
            case FieldKind.INTEGER:
                return int(text)
            case FieldKind.NUMBER:
                return float(text)
            case FieldKind.JSON | FieldKind.BOOLEAN:
                return json.loads(text)
    except (ValueError, RecursionError):
        pass
    return text
