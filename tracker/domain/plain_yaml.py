"""A safe subset of YAML: no aliases (they could grow or loop), no tags (they could run code)."""

from collections.abc import Iterator
from typing import Any

import yaml
from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, MarkedYAMLError, NodeEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_DEEP = 30  # lists and mappings inside each other
MOST_DIGITS = 100
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class NotPlain(MarkedYAMLError):
    def __init__(self, at: yaml.Event | Node, why: str) -> None:
        mark: Any = at.start_mark  # its type depends on the parser, C or Python
        super().__init__(problem=why, problem_mark=mark)


def composed(content: bytes) -> Node | None:
    """The root node of the only document. Raises `YAMLError`."""
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MOST_DEEP:
            raise NotPlain(event, "lists and mappings are nested too deeply")
        _check_event(event)
    node = yaml.compose(content, Loader=_LOADER)
    if node is not None:
        _check(node)
    return node


def keys(node: MappingNode) -> Iterator[ScalarNode]:
    """The keys of a mapping. Raises `NotPlain` if one is not a scalar."""
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise NotPlain(key, "a key must be one word, without brackets or braces")
        yield key


def _check_event(event: yaml.Event) -> None:
    if isinstance(event, NodeEvent) and (isinstance(event, AliasEvent) or event.anchor):
        raise NotPlain(event, "anchors and aliases are not supported; repeat the value")
    if tag := getattr(event, "tag", None):
        raise NotPlain(event, f"the tag {tag[:40]} is not supported; write a plain value")


def _check(node: Node) -> None:
    """Raises `NotPlain` for a duplicate key or a number with too many digits."""
    if isinstance(node, ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > MOST_DIGITS:
            raise NotPlain(node, f"a number has more than {MOST_DIGITS} digits")
    elif isinstance(node, MappingNode):
        seen: set[str] = set()
        for key in keys(node):
            if key.value in seen:
                raise NotPlain(key, f"duplicate key {key.value[:40]!r}")
            seen.add(key.value)
        for _, value in node.value:
            _check(value)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            _check(item)
