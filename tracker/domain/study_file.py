"""A study file: requests and grids of requests, written in YAML.

requests:
- analysis: attribution
  model: mcq-small
  recipe: {data: colours, size: 32}
grids:
- analysis: patching
  model: [mcq-small, tiny]
  parameters: {direction: [noise, denoise]}
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

from yaml import Mark, MarkedYAMLError, YAMLError
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from analyses.errors import Refused, did_you_mean, shown
from analyses.prompts.spec import DistributionSpec
from tracker.domain.grid import Grid, check_count
from tracker.domain.plain_yaml import composed, keys
from tracker.domain.request import InvalidRequest, RunRequest

MOST_BYTES = 512 * 1024
_RECIPE = ("name", *DistributionSpec.model_fields)

Entry = TypeVar("Entry", RunRequest, Grid)
Value = TypeVar("Value")


class BadStudyFile(InvalidRequest):
    """A study file is not valid; the message gives the line."""

    def __init__(self, mark: Mark | None, why: str) -> None:
        super().__init__(f"line {mark.line + 1}: {why}" if mark else why)


class UnknownKey(BadStudyFile):
    def __init__(self, key: Node, known: Collection[str]) -> None:
        near = did_you_mean(key.value, known)
        super().__init__(
            key.start_mark,
            f"Unknown key {shown(key.value)}.{near} Known keys: {', '.join(known)}.",
        )


class NotOfKind(BadStudyFile):
    def __init__(self, node: Node, kind: str) -> None:
        if isinstance(node, ScalarNode):
            given = shown(node.value)
        else:
            given = "a list" if isinstance(node, SequenceNode) else "a mapping"
        super().__init__(node.start_mark, f"Expected {kind}, got {given}.")


class NoRequests(BadStudyFile):
    def __init__(self) -> None:
        super().__init__(None, "it contains no runs. List runs under 'requests:' or 'grids:'.")


def read(content: bytes) -> tuple[RunRequest, ...]:
    """The requests of a study file, those of its grids last. Raises `InvalidRequest`."""
    if len(content) > MOST_BYTES:
        raise BadStudyFile(None, f"it is larger than {MOST_BYTES:,} bytes. Split it.")
    top = _fields(_root(content), ("requests", "grids"))
    single, several = _items(top.get("requests")), _items(top.get("grids"))
    if not single and not several:
        raise NoRequests
    check_count(len(single) + len(several))
    requests = [_entry(node, RunRequest) for node in single]
    grids = [(node, _entry(node, Grid)) for node in several]
    check_count(len(requests) + sum(_at(node, partial(_count, grid)) for node, grid in grids))
    for node, grid in grids:
        requests += _at(node, grid.expand)
    return tuple(requests)


def _count(grid: Grid) -> int:
    return grid.count


def _root(content: bytes) -> Node:
    try:
        node = composed(content)
    except MarkedYAMLError as error:
        raise BadStudyFile(error.problem_mark, f"{error.problem}.") from error
    except YAMLError as error:
        raise BadStudyFile(None, f"it is not YAML: {str(error).splitlines()[0]}.") from error
    if node is None:
        raise NoRequests
    return node


def _entry(node: Node, kind: type[Entry]) -> Entry:
    fields = _fields(node, kind.model_fields)
    if "recipe" in fields:
        _fields(fields["recipe"], _RECIPE)
    values = {name: _value(field) for name, field in fields.items()}
    return _at(node, lambda: kind(**values))


def _fields(node: Node, known: Collection[str]) -> dict[str, Node]:
    """The values of a mapping by key. Raises `UnknownKey` or `NotOfKind`."""
    if not isinstance(node, MappingNode):
        raise NotOfKind(node, f"a mapping with some of {', '.join(known)}")
    for key in keys(node):
        if key.value not in known:
            raise UnknownKey(key, known)
    return {key.value: value for key, value in node.value}


def _items(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if not isinstance(node, SequenceNode):
        raise NotOfKind(node, "a list")
    return list(node.value)


def _value(node: Node) -> Any:
    try:
        return SafeConstructor().construct_document(node)
    except ValueError as error:  # an invalid date, or a number with too many digits
        raise BadStudyFile(node.start_mark, f"{error}.") from error


def _at(node: Node, make: Callable[[], Value]) -> Value:
    """The result of `make`; its errors become `BadStudyFile` with the line of the node."""
    try:
        return make()
    except (Refused, InvalidRequest) as error:
        raise BadStudyFile(node.start_mark, str(error)) from error
