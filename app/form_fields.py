"""Form fields, read from the JSON schema of a pydantic model."""

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
    LIST = "array"  # entered separated by commas
    JSON = "json"  # any other type: entered as JSON


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field of a form; bounds are inclusive."""

    name: str
    title: str
    description: str | None
    kind: FieldKind
    default: Any = None
    optional: bool = False  # can be left empty
    least: float | None = None
    most: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] = ()
    item: FieldKind = FieldKind.TEXT  # type of a list's items

    @property
    def text(self) -> str:
        """The default, as the text in a text input."""
        if self.default is None:
            return ""
        if self.kind is FieldKind.LIST:
            return ", ".join(str(item) for item in self.default)
        return json.dumps(self.default) if self.kind is FieldKind.JSON else str(self.default)

    def value(self, entered: Any) -> Any:
        """The value of a widget, converted to the type that the model expects.

        Text that cannot be converted is returned unchanged; validation by the model reports it.
        """
        if self.optional and entered in ("", None):
            return None
        if self.kind is FieldKind.LIST:
            return [_read(item.strip(), self.item) for item in entered.split(",") if item.strip()]
        return _read(entered, FieldKind.JSON) if self.kind is FieldKind.JSON else entered


def fields_of(model: type[BaseModel]) -> list[FormField]:
    """One form field for each field of the model, in the order of the model."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", ())
    return [
        _field(name, field, definitions, required=name in required)
        for name, field in schema.get("properties", {}).items()
    ]


def _field(
    name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], *, required: bool
) -> FormField:
    branches = [_resolved(branch, definitions) for branch in schema.get("anyOf", (schema,))]
    not_null = [branch for branch in branches if branch.get("type") != "null"]
    # A union of several types is entered as JSON.
    only = not_null[0] if len(not_null) == 1 else {}
    kind = _kind(only)
    items = _kind(_resolved(only.get("items", {}), definitions))
    if kind is FieldKind.LIST and items in (FieldKind.LIST, FieldKind.JSON):
        kind = FieldKind.JSON
    return FormField(
        name=name,
        title=schema.get("title") or name,
        description=schema.get("description"),
        kind=kind,
        default=schema.get("default"),
        optional=len(not_null) < len(branches) and not required,
        least=_bound(only, kind, "minimum", "exclusiveMinimum", +1),
        most=_bound(only, kind, "maximum", "exclusiveMaximum", -1),
        step=only.get("multipleOf"),
        choices=tuple(only.get("enum", (only["const"],) if "const" in only else ())),
        item=items,
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
        bound: float | None = schema.get(inclusive)
        return bound
    limit: float = schema[exclusive]
    return limit + inward if kind is FieldKind.INTEGER else math.nextafter(limit, inward * math.inf)


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
