"""A request for one run: analysis, model, prompts and parameters."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from analyses import names
from analyses.errors import mistakes
from analyses.prompts.spec import DistributionSpec
from tracker.domain import options
from tracker.domain.priority import Priority
from tracker.errors import TrackerError

MOST_SEED = 2**63 - 1
MOST_DEEP = 20  # nesting depth of lists and objects in parameters
_BREAKS = frozenset("\x85\u2028\u2029")
_ENDLESS = 2**31  # columns of YAML, so that no text is wrapped


class InvalidRequest(TrackerError):
    """The request cannot be queued; the message says why."""


class MalformedRequest(InvalidRequest):
    def __init__(self, kind: type[BaseModel], error: ValidationError) -> None:
        problems = mistakes(error, "request")
        fields = ", ".join(kind.model_fields)
        super().__init__(f"Invalid request: {problems}. Its fields are: {fields}.")


def _study(name: str | None) -> str | None:
    return None if name is None else names.checked("study", name)


AskedPriority = Annotated[Priority, Field(title="Priority", description="How soon the run starts.")]
Study = Annotated[
    str | None,
    Field(title="Study", description="Name of a group of runs to add this one to."),
    AfterValidator(_study),
]
Force = Annotated[
    bool, Field(title="Run again", description="Run again even if the same run exists.")
]


class Asked(BaseModel):
    """Base of requests that people write; validation errors become one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **given: Any) -> None:
        """Raises `InvalidRequest` or `Refused` if a field is not valid."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise MalformedRequest(type(self), error) from None


class RunRequest(Asked):
    """One analysis of one model on the prompts of one recipe.

    The recipe may be a mapping of its fields, with `name` for data, template and labels together.
    If it names no split, the default split of the analysis is used.

    >>> request = RunRequest(analysis="attention", model="m", recipe={"name": "facts", "size": 8})
    >>> request.as_command()
    'headbook submit attention --model m --distribution facts --prompts 8'
    """

    analysis: str = Field(title="Analysis", description="Name of the analysis.")
    model: str = Field(title="Model", description="Name of an added model.")
    recipe: DistributionSpec = Field(
        DistributionSpec(), title="Recipe", description="How the prompts are made."
    )
    parameters: Mapping[str, Any] = Field(
        {}, title="Parameters", description="Parameters of the analysis, by name."
    )
    seed: int = Field(
        0,
        ge=0,
        le=MOST_SEED,
        title="Bootstrap seed",
        description="Seed of the resamples behind the intervals.",
    )
    priority: AskedPriority = Priority.NORMAL
    study: Study = None
    force: Force = False

    if TYPE_CHECKING:  # so that type checkers accept a mapping as recipe

        def __init__(self, **given: Any) -> None: ...

    @property
    def said(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON, and the split if it was named."""
        said = self.model_dump(mode="json", exclude_defaults=True) | {"recipe": self.recipe.said}
        return {field: said[field] for field in type(self).model_fields if said.get(field)}

    def as_command(self) -> str:
        """A shell command that queues it."""
        return shlex.join(["headbook", "submit", *options.words(self)])

    def as_python(self) -> str:
        """A Python expression that recreates it."""
        fields = "".join(f"    {field}={value!r},\n" for field, value in self.said.items())
        return f"headbook.RunRequest(\n{fields})"

    def as_yaml(self) -> str:
        """A study file with only this request."""
        return study_yaml([self])

    @field_validator("analysis", "model")
    @classmethod
    def _name(cls, name: str, info: ValidationInfo) -> str:
        return names.checked(str(info.field_name), name)

    @field_validator("recipe", mode="before")
    @classmethod
    def _parse_name(cls, given: Any) -> Any:
        named = isinstance(given, Mapping) and "name" in given
        return DistributionSpec.parse(**given) if named else given

    @field_validator("parameters", mode="before")
    @classmethod
    def _as_json(cls, given: Any) -> Any:
        """Parameters in their stored form: tuples become lists, and infinity is refused."""
        try:
            text = json.dumps(given, allow_nan=False, ensure_ascii=False)
            text.encode()
            value = json.loads(text)
            if _depth(value) <= MOST_DEEP:
                return value
        except RecursionError:
            pass
        except (TypeError, ValueError) as error:
            raise ValueError(f"not JSON: {error}") from None
        raise ValueError("lists or objects are nested too deeply")

    @field_validator("parameters")
    @classmethod
    def _named(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in given:
            if not name or "=" in name:
                raise ValueError(f"{name!r} is not a valid parameter name")
        return given


def study_yaml(requests: Iterable[RunRequest]) -> str:
    """A study file with these requests."""
    content = {"requests": [request.said for request in requests]}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_ENDLESS)


class _Dumper(yaml.SafeDumper):
    """Escapes line breaks that PyYAML writes as they are, and then reads as spaces."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if _BREAKS.intersection(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _depth(value: Any) -> int:
    """The nesting depth of lists and objects."""
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
    return depth


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
