"""The spec of a prompt distribution: one frozen value that determines every byte of its prompts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.config import JsonDict

from analyses import names
from analyses.errors import Refused, mistakes, shown
from analyses.prompts import data_names, labels, templates
from analyses.prompts.labels import MOST_OPTIONS
from analyses.prompts.separators import AUTO

MOST_PROMPTS = 100_000
MOST_SEED = 2**63 - 1
PARTS = ("data", "template", "labels")  # of a name
MOST_NAME = 1000  # characters of each part of a name, and of a column's

OF_FILES: Final[JsonDict] = {"of_files": True}  # marks a field that only files of questions use

Split = Literal["all", "train", "test"]
ColumnName = Annotated[str, StringConstraints(max_length=MOST_NAME)]


class UnreadableName(Refused):
    def __init__(self, name: str, *, many: str) -> None:
        super().__init__(
            f"The distribution name {shown(name)} has too many {many}. "
            f"A name is data/template/labels, such as {DistributionSpec().name!r}."
        )


class BadSpec(Refused):
    def __init__(self, error: ValidationError) -> None:
        reasons = mistakes(error, "spec")
        fields = ", ".join(DistributionSpec.model_fields)
        super().__init__(f"The distribution cannot be made: {reasons}. Its fields are: {fields}.")


class SeparatorsOfOwnTemplate(Refused):
    def __init__(self, separators: str) -> None:
        super().__init__(
            f"A template file writes its own separators, so {separators!r} cannot be used. Leave "
            f"the separators at {AUTO!r}."
        )


class DistributionSpec(BaseModel):
    """Everything that determines the prompts, apart from the content of the named files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        "facts",
        title="Data",
        description="Source of the questions: facts, colours, file:/path/questions.jsonl "
        "(or .csv, .parquet), folder:/path (or folder:/path:CONFIG:SPLIT), or "
        "hub:cais/mmlu@REVISION (or hub:cais/mmlu:CONFIG:SPLIT@REVISION).",
        min_length=1,
        max_length=MOST_NAME,
    )
    template: str = Field(
        "chinchilla",
        title="Template",
        description="The words around a question: chinchilla, mmlu, or file:/path/mine.jinja.",
        min_length=1,
        max_length=MOST_NAME,
    )
    labels: str = Field(
        "ABCD",
        title="Labels",
        description="Labels of the options: ABCD (the first letters), random_letters, "
        "shuffled, ordered_letters, numbers, symbols, or list:W,X,Y,Z.",
        min_length=1,
        max_length=MOST_NAME,
    )
    separators: Literal["auto", "(A)", "A.", "A)", "A:"] = Field(
        "auto",
        title="Separators",
        description="How a label is written before its option and at the end of the prompt; auto "
        "takes the template's way.",
    )
    prelude: bool = Field(
        True,
        title="Prelude",
        description="Whether a prompt begins with the template's sentence that names the topic.",
    )
    options: int = Field(
        4, ge=2, le=MOST_OPTIONS, title="Options", description="Options of a question."
    )
    shots: int = Field(
        0, ge=0, le=5, title="Shots", description="Solved questions before the question."
    )
    split: Split = Field(
        "all",
        title="Split",
        description="No set of options is in both train and test; one in five is in test.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=MOST_SEED,
        title="Prompt seed",
        description="A different seed draws different questions and orders.",
    )
    size: int = Field(
        64, ge=1, le=MOST_PROMPTS, title="Number of prompts", description="How many prompts."
    )
    option_references: Literal["skip", "keep"] = Field(
        "skip",
        title="Options that name others",
        description="Questions with an option such as 'All of the above' or 'Both A and B': skip "
        "and count them, or keep those whose options are as many, and labelled, as that option "
        "needs, in the order of the file.",
    )
    question_column: ColumnName = Field(
        "question",
        min_length=1,
        title="Question column",
        description="Column of the question, in a file of questions.",
        json_schema_extra=OF_FILES,
    )
    choices_columns: tuple[ColumnName, ...] = Field(
        ("choices",),
        min_length=1,
        max_length=100,
        title="Choices columns",
        description="Column of the choices, as lists, or a column for each choice, in a file of "
        "questions.",
        json_schema_extra=OF_FILES,
    )
    answer_column: ColumnName = Field(
        "answer",
        min_length=1,
        title="Answer column",
        description="Column of the answer, in a file of questions: the correct choice's index, "
        "letter or text.",
        json_schema_extra=OF_FILES,
    )
    answer_reading: Literal["auto", "from_0", "from_1", "letter", "text"] = Field(
        "auto",
        title="Reading of answers",
        description="What answers are, in a file of questions: an index from 0 or from 1, a letter "
        "or a text. auto takes the one reading that fits all rows, and says which.",
        json_schema_extra=OF_FILES,
    )
    subject_column: ColumnName = Field(
        "subject",
        title="Subject column",
        description="Column of the topic, in a file of questions; may be missing or empty.",
        json_schema_extra=OF_FILES,
    )

    def __init__(self, **given: Any) -> None:
        """Raises `Refused`."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise BadSpec(error) from None

    @model_validator(mode="after")
    def _exists(self) -> Self:
        for name, field in type(self).model_fields.items():
            for text in _texts(getattr(self, name)):
                names.checked_line(str(field.title).lower(), text)
        data_names.check(self.data)
        labels.check(self.labels, self.options)
        if not self.template.startswith(templates.OWN):
            templates.find(self.template)
        elif self.separators != AUTO:
            raise SeparatorsOfOwnTemplate(self.separators)
        return self

    @property
    def name(self) -> str:
        """`data/template/labels`, for display; the other fields are shown separately."""
        return f"{self.data}/{self.template}/{self.labels}"

    @property
    def short_name(self) -> str | None:
        """The shortest name that parses to this data, template and labels; None if none does."""
        parts = {part: getattr(self, part) for part in PARTS}
        names = ("/".join(list(parts.values())[:count]) for count in (1, 2, 3))
        return next((name for name in names if _read(name) == parts), None)

    @property
    def own_template(self) -> Path | None:
        """The path of the template file, or None for a shipped template."""
        own = self.template.startswith(templates.OWN)
        return Path(self.template.removeprefix(templates.OWN)) if own else None

    @property
    def said(self) -> dict[str, Any]:
        """The non-default fields, as JSON, and the split if it was given explicitly."""
        whole = self.model_dump(mode="json")
        named = {"split"} & self.model_fields_set
        shown = named | self.model_dump(exclude_defaults=True).keys()
        return {field: value for field, value in whole.items() if field in shown}

    @classmethod
    def parse(cls, name: str, **fields: Any) -> Self:
        """The spec of a name; omitted parts and fields take their defaults. Raises a `Refused`."""
        return cls(**_parts(name) | fields)


def _texts(value: object) -> tuple[str, ...]:
    """The texts in the value of a field."""
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()


def unusual(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The non-default fields of a stored spec, except those in its name, size and seed."""
    usual = DistributionSpec().model_dump(mode="json")
    told = (*PARTS, "size", "seed")
    return {
        field: stored[field]
        for field in usual
        if field in stored and field not in told and stored[field] != usual[field]
    }


def in_short(stored: Mapping[str, Any], digest: str) -> str:
    """A stored spec in one line: its name and its non-default fields.

    For files, folders and hub data sets, whose content may change, it includes the start of their
    hash.
    """
    name = f"{stored['data']}/{stored['template']}/{stored['labels']}"
    if _LONG.fullmatch(name) or _OWN.fullmatch(name):
        name += f"@{digest[:7]}"
    seed = {"seed": stored["seed"]} if stored["seed"] else {}
    fields = {**unusual(stored), **seed}
    return ", ".join([name, *(f"{field}={_said(value)}" for field, value in fields.items())])


def _said(value: Any) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


# Paths contain slashes, so such a name is parsed from its end, where template and labels must both
# be given or both be omitted: a folder may be called mmlu.
_LABELS = rf"(?P<labels>{'|'.join(labels.SCHEMES)}|{labels.LIST}[^/]*)"
_TEMPLATE = rf"(?P<template>{'|'.join(templates.TEMPLATES)}|{templates.OWN}.+?)"
_LONG = re.compile(rf"(?P<data>(?:{'|'.join(data_names.PREFIXES)}).+?)(/{_TEMPLATE}/{_LABELS})?")
_OWN = re.compile(rf"(?P<data>[^/:]+)/(?P<template>{templates.OWN}.+?)(/{_LABELS})?")


def _read(name: str) -> dict[str, str] | None:
    """All parts of a name, with defaults, or None if it cannot be parsed."""
    fields = DistributionSpec.model_fields
    try:
        return {part: fields[part].default for part in PARTS} | _parts(name)
    except UnreadableName:
        return None


def _parts(name: str) -> dict[str, str]:
    if len(name) > 4 * MOST_NAME:  # more than three parts can have
        raise UnreadableName(name, many="characters")
    if long := _LONG.fullmatch(name) or _OWN.fullmatch(name):
        return {field: part for field, part in long.groupdict().items() if part is not None}
    parts = name.split("/")
    if len(parts) > 3:
        raise UnreadableName(name, many="parts")
    return dict(zip(PARTS, parts, strict=False))
