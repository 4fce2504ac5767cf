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
from analyses.prompts import data_names, labels, tasks, templates
from analyses.prompts.labels import MOST_OPTIONS
from analyses.prompts.separators import AUTO

MOST_PROMPTS = 100_000
MOST_SEED = 2**63 - 1
PARTS = ("data", "template", "labels")  # of a name
MOST_NAME = 1000  # characters of each part of a name, and of a column's

# Marks of fields that apply to one kind of data only.
OF: Final = "of"
OF_QUESTIONS: Final[JsonDict] = {OF: "questions"}
OF_FILES: Final[JsonDict] = {OF: "files of questions"}
OF_TASKS: Final[JsonDict] = {OF: "shipped completions"}
OF_PAIRS: Final[JsonDict] = {OF: "files of completions"}
OWN_LAYOUT: Final[JsonDict] = {OF: "files"}
ANY_FILES: Final[JsonDict] = {OF: "any files"}

NO_GROUPS = ("of", "variant", "keys", "at", "to", "by")  # what scores name otherwise
_GROUP = re.compile(r"[a-z]\w*", re.ASCII)

Kind = Literal["questions", "completions"]
Layout = Literal["questions", "pairs", "transformer_lens", "mib"]
Split = Literal["all", "train", "test"]
ColumnName = Annotated[str, StringConstraints(max_length=MOST_NAME)]


class UnreadableName(Refused):
    def __init__(self, name: str, *, many: str) -> None:
        super().__init__(
            f"The distribution name {shown(name)} has too many {many}. "
            f"A name is data/template/labels, such as {DistributionSpec().name!r}, or of "
            f"completions data/counterfactual, such as 'ioi/abc'."
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


class FieldOfOtherKind(Refused):
    def __init__(self, field: str, of: str, data: str) -> None:
        super().__init__(
            f"The field {field!r} applies to {of} only, not to {shown(data)}. Leave it out."
        )


class BadGroupColumn(Refused):
    def __init__(self, column: str) -> None:
        super().__init__(
            f"The column {shown(column)} cannot be a group: scores are named by it, so it must be "
            f"a lower-case word of letters, digits and _, such as 'template', and none of "
            f"{', '.join(NO_GROUPS)}. Rename the column."
        )


class DistributionSpec(BaseModel):
    """Everything that determines the prompts, apart from the content of the named files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field(
        "facts",
        title="Data",
        description="Source of the prompts. Questions: facts, colours. Completions: "
        f"{', '.join(data_names.TASKS)}. Your own: file:/path/questions.jsonl (or .csv, .parquet), "
        "folder:/path (or folder:/path:CONFIG:SPLIT), or hub:cais/mmlu@REVISION (or "
        "hub:cais/mmlu:CONFIG:SPLIT@REVISION).",
        min_length=1,
        max_length=MOST_NAME,
    )
    layout: Layout = Field(
        "questions",
        title="Layout",
        description="What the rows of your own data are: multiple-choice questions; or completions "
        "with a counterfactual, as pairs (see docs/own-pairs.md), in TransformerLens's columns "
        "(clean, corrupted) or as in the MIB benchmark.",
        json_schema_extra=OWN_LAYOUT,
    )
    counterfactual: ColumnName = Field(
        "",
        title="Counterfactual",
        description="Which counterfactual the prompts of a shipped task have, such as swap or abc "
        "for ioi; empty: the task's first.",
        json_schema_extra=OF_TASKS,
    )
    template: str = Field(
        "chinchilla",
        title="Template",
        description="The words around a question: chinchilla, mmlu, or file:/path/mine.jinja.",
        min_length=1,
        max_length=MOST_NAME,
        json_schema_extra=OF_QUESTIONS,
    )
    labels: str = Field(
        "ABCD",
        title="Labels",
        description="Labels of the options: ABCD (the first letters), random_letters, "
        "shuffled, ordered_letters, numbers, symbols, or list:W,X,Y,Z.",
        min_length=1,
        max_length=MOST_NAME,
        json_schema_extra=OF_QUESTIONS,
    )
    separators: Literal["auto", "(A)", "A.", "A)", "A:"] = Field(
        "auto",
        title="Separators",
        description="How a label is written before its option and at the end of the prompt; auto "
        "takes the template's way.",
        json_schema_extra=OF_QUESTIONS,
    )
    prelude: bool = Field(
        True,
        title="Prelude",
        description="Whether a prompt begins with the template's sentence that names the topic.",
        json_schema_extra=OF_QUESTIONS,
    )
    options: int = Field(
        4,
        ge=2,
        le=MOST_OPTIONS,
        title="Options",
        description="Options of a question.",
        json_schema_extra=OF_QUESTIONS,
    )
    shots: int = Field(
        0,
        ge=0,
        le=5,
        title="Shots",
        description="Solved questions before the question.",
        json_schema_extra=OF_QUESTIONS,
    )
    split: Split = Field(
        "all",
        title="Split",
        description="Train and test share no set of options and no unit of completions, such as a "
        "template of ioi; one in five is in test.",
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
        json_schema_extra=OF_QUESTIONS,
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
        description="Column of the topic, in a file of questions or of completions; may be missing "
        "or empty.",
        json_schema_extra=ANY_FILES,
    )
    prompt_column: ColumnName = Field(
        "prompt",
        min_length=1,
        title="Prompt column",
        description="Column of the text to complete, in a file of completions.",
        json_schema_extra=OF_PAIRS,
    )
    correct_column: ColumnName = Field(
        "correct",
        min_length=1,
        title="Correct column",
        description="Column of the correct candidate, or of a list of them.",
        json_schema_extra=OF_PAIRS,
    )
    others_column: ColumnName = Field(
        "others",
        min_length=1,
        title="Others column",
        description="Column of the other candidates: one, or a list.",
        json_schema_extra=OF_PAIRS,
    )
    counterfactual_column: ColumnName = Field(
        "counterfactual",
        title="Counterfactual column",
        description="Column of the counterfactual text; may be missing.",
        json_schema_extra=OF_PAIRS,
    )
    counterfactual_correct_column: ColumnName = Field(
        "counterfactual_correct",
        title="Correct in the counterfactual",
        description="Column of what is correct in the counterfactual; may be missing: then as in "
        "the prompt.",
        json_schema_extra=OF_PAIRS,
    )
    spans_column: ColumnName = Field(
        "spans",
        title="Spans column",
        description="Column of the named parts of the text, each as [start, stop] or as its text; "
        "may be missing.",
        json_schema_extra=OF_PAIRS,
    )
    counterfactual_spans_column: ColumnName = Field(
        "counterfactual_spans",
        title="Spans of the counterfactual",
        description="Column of the same parts of the counterfactual; may be missing.",
        json_schema_extra=OF_PAIRS,
    )
    group_columns: tuple[ColumnName, ...] = Field(
        (),
        max_length=20,
        title="Group columns",
        description="Columns by whose values answers are broken down, such as a template.",
        json_schema_extra=OF_PAIRS,
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
        self._check_kind()
        if self.counterfactual:
            tasks.task(self.data).check(self.counterfactual)
        for column in self.group_columns:
            if column in NO_GROUPS or not _GROUP.fullmatch(column):
                raise BadGroupColumn(column)
        if self.kind == "completions":
            return self
        labels.check(self.labels, self.options)
        if not self.template.startswith(templates.OWN):
            templates.find(self.template)
        elif self.separators != AUTO:
            raise SeparatorsOfOwnTemplate(self.separators)
        return self

    def _check_kind(self) -> None:
        """Raises `FieldOfOtherKind` if a field that does not apply differs from its default."""
        applying = fields_of(self.kind, shipped=self.is_shipped)
        unread = _UNREAD if self.kind == "questions" else ()
        for name, field in type(self).model_fields.items():
            if _mark(name) in unread:
                continue
            if name not in applying and getattr(self, name) != field.default:
                raise FieldOfOtherKind(name, str(_mark(name)), self.data)

    @property
    def kind(self) -> Kind:
        """What the prompts are: multiple-choice questions, or texts to complete."""
        if self.is_shipped:
            return "completions" if self.data in data_names.TASKS else "questions"
        return "questions" if self.layout == "questions" else "completions"

    @property
    def is_shipped(self) -> bool:
        return self.data in (*data_names.SHIPPED, *data_names.TASKS)

    @property
    def name(self) -> str:
        """For display; the other fields are shown separately.

        `data/template/labels` of questions, `data/counterfactual` of shipped completions.
        """
        return _name(self.model_dump(include={*PARTS, "counterfactual", "layout"}))

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


def fields_of(kind: Kind, *, shipped: bool) -> tuple[str, ...]:
    """The fields of a spec that apply to shipped data, or a user's own, of a kind."""
    marks = (None, *_MARKS[kind, shipped])
    return tuple(name for name in DistributionSpec.model_fields if _mark(name) in marks)


def _mark(field: str) -> object:
    """What kind of data a field applies to; None: to all."""
    extra = DistributionSpec.model_fields[field].json_schema_extra
    return extra.get(OF) if isinstance(extra, Mapping) else None


def _texts(value: object) -> tuple[str, ...]:
    """The texts in the value of a field."""
    return (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()


def unusual(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The non-default fields of a stored spec, except those in its name, size and seed."""
    usual = DistributionSpec().model_dump(mode="json")
    told = (*PARTS, "counterfactual", "size", "seed")
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
    name = _name(stored)
    if _LONG.fullmatch(name) or _OWN.fullmatch(name):
        name += f"@{digest[:7]}"
    seed = {"seed": stored["seed"]} if stored["seed"] else {}
    fields = {**unusual(stored), **seed}
    return ", ".join([name, *(f"{field}={_said(value)}" for field, value in fields.items())])


def _name(stored: Mapping[str, Any]) -> str:
    """The name of a stored spec, for display."""
    data = str(stored["data"])
    if data in data_names.TASKS:
        return f"{data}/{stored.get('counterfactual') or tasks.task(data).counterfactuals[0]}"
    if stored.get("layout", "questions") != "questions":
        return data
    return f"{data}/{stored['template']}/{stored['labels']}"


def _said(value: Any) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


_MARKS: Mapping[tuple[Kind, bool], tuple[str, ...]] = {  # by kind, and whether it is shipped
    ("questions", True): ("questions",),
    ("questions", False): ("questions", "files of questions", "any files", "files"),
    ("completions", True): ("shipped completions",),
    ("completions", False): ("files of completions", "any files", "files"),
}
# Recipes of shipped questions may name columns, which are not read.
_UNREAD = ("files of questions", "any files")

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
    known = ("data", "counterfactual") if parts[0] in data_names.TASKS else PARTS
    if len(parts) > len(known):
        raise UnreadableName(name, many="parts")
    return dict(zip(known, parts, strict=False))
