"""The page about analyses, made from what they say of themselves: docs/analyses.md."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from analyses import bootstrap
from analyses.pictures.plots import HEADS
from analyses.prompts.spec import DistributionSpec
from analyses.quantities import as_varied
from analyses.registry import Analysis, Params
from analyses.results import Kind
from analyses.shown import plain
from analyses.stored import Place, Stored

HEAD = """\
# Analyses

Made by `headbook analyses docs > docs/analyses.md`, from what the analyses say of themselves.

A score is named by its component, metric, site, condition and coordinate `x`; below, `{…}` stands
for any text. It is a mean over prompts with standard error, 95 % interval over items, the
numbers of prompts that count and that were skipped, and one value for every prompt. Ratios and
numbers about a whole run have no values for single prompts, and a ratio whose denominator may be
zero has no mean. What has a mean has an interval where two items count, unless its meaning says why
it has none. With `prompts=known` every analysis stores `known` too, a score of the model: the
share of prompts whose answer it knows. Words are explained in the [glossary](glossary.md).
"""
INTERVALS = "\n".join(f"- **{of}**: {said}." for of, said in bootstrap.CONVENTIONS.items()) + "\n"
RECIPE = """\
`headbook submit` and `headbook distributions show` have an option for each field with the field's
name, except `--prompts` (size), `--prompt-seed` (seed) and `--choices-column`. `--distribution`
gives data, template and labels at once."""
FIELDS = ("name", "type", "default", "meaning")
SCORES = ("metric", "component, site", "condition", "x", "unit", "better", "meaning")
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}

Row = tuple[str, ...]
Schema = Mapping[str, Any]


def page(analyses: Iterable[Analysis], *, with_recipe: bool = False) -> str:
    """The page about some analyses, as Markdown; with the recipe of prompts if asked."""
    prompts = [recipe()] if with_recipe else []
    return "\n".join([HEAD + INTERVALS, *prompts, *map(section, analyses)])


def recipe() -> str:
    """The fields of a recipe of prompts, as Markdown."""
    return (
        "\n\n".join(["## Recipe of prompts", RECIPE, _rows(FIELDS, _fields(DistributionSpec))])
        + "\n"
    )


def section(analysis: Analysis) -> str:
    """What there is to know of one analysis, as Markdown."""
    return analysis.ask(lambda: _section(analysis))


def _section(analysis: Analysis) -> str:
    after = f" After {analysis.reference}." if analysis.reference else ""
    arrays = [(_code(each.name), ", ".join(each.axes), each.meaning) for each in analysis.arrays]
    parts = [
        f"## {analysis.name}",
        analysis.summary,
        analysis.description,
        f"Version {analysis.version}.{_split(analysis)}{after}",
        *_table("Parameters", FIELDS, _parameters(analysis)),
        *_table("Scores", SCORES, map(_score, analysis.stores)),
        *_table("Tensors", ("name", "axes", "meaning"), arrays),
        *_table("Conventions", ("of", "is"), analysis.conventions.items()),
        f"Pictures: {', '.join(_pictures(analysis))}." if _pictures(analysis) else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _split(analysis: Analysis) -> str:
    """Which prompts it is measured on, where that is not as of most analyses."""
    usual = analysis.params.usual_split
    return f" Prompts are of split {usual!r} where none is asked for." if usual != "all" else ""


def _table(title: str, columns: Row, rows: Iterable[Row]) -> list[str]:
    """A heading and a table, or nothing where there are no rows."""
    lines = list(rows)
    return [f"### {title}", _rows(columns, lines)] if lines else []


def _rows(columns: Row, rows: Iterable[Row]) -> str:
    lines = [
        " | ".join(plain(cell).replace("|", "\\|").replace("\n", " ") for cell in row)
        for row in rows
    ]
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    return "\n".join(f"| {line} |" for line in [*head, *lines])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _parameters(analysis: Analysis) -> Iterator[Row]:
    """The analysis's own first, then those that every analysis has."""
    yield from sorted(
        _fields(analysis.params), key=lambda row: row[0].strip("`") in Params.model_fields
    )


def _fields(model: type[BaseModel]) -> Iterator[Row]:
    """A row for each field, in the order of the model."""
    schema = model.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        meaning = f"**{field.get('title', name)}.** {field.get('description', '')}".strip()
        yield _code(name), _type(field, schema.get("$defs", {})), _default(field), meaning


def _default(field: Schema) -> str:
    if "default" not in field:
        return "must be given"
    default = field["default"]
    return _code(default if isinstance(default, str) else json.dumps(default))


def _type(field: Schema, definitions: Mapping[str, Schema]) -> str:
    """A JSON schema in words, with its bounds."""
    if "$ref" in field:
        return _type(definitions[field["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in field:
        return " or ".join(_type(each, definitions) for each in field["anyOf"])
    if "enum" in field or "const" in field:
        return " or ".join(_code(str(each)) for each in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}), definitions)}"
    name = "nothing" if field.get("type") == "null" else str(field.get("type", "JSON"))
    bounds = [f"{word} {field[bound]}" for bound, word in BOUNDS.items() if bound in field]
    return ", ".join([name, *bounds])


def _score(stored: Stored) -> Row:
    conditions = [as_varied(each).text for each in stored.varied]
    return (
        _code(stored.metric),
        ", ".join(map(_place, stored.where)),
        ", ".join(_code(each) or "*none*" for each in conditions if any(conditions)),
        stored.x,
        stored.unit,
        stored.better or "",
        _meaning(stored),
    )


def _meaning(stored: Stored) -> str:
    return "; no interval: ".join(filter(None, (stored.meaning, stored.no_interval)))


def _place(place: Place) -> str:
    kind, site = place
    return f"{_code(kind)} at {_code(site)}" if site else _code(kind)


def _pictures(analysis: Analysis) -> list[str]:
    """The files that a run of it gets, unless it has nothing to show."""
    of_heads = any(kind is Kind.HEAD for each in analysis.stores for kind, _ in each.where)
    names = [*([HEADS] if of_heads or not analysis.stores else []), *analysis.plots]
    return [f"`plots/{name}.png`" for name in dict.fromkeys(names)]
