"""YAML without what a file of plain values does not need: it cannot grow, loop or name code."""

from collections.abc import Iterator
from typing import Any

from yaml import AliasEvent, MarkedYAMLError, SafeLoader
from yaml.nodes import MappingNode, Node, ScalarNode

MOST_DEEP = 30  # lists and mappings inside each other
MOST_DIGITS = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class NotPlain(MarkedYAMLError):
    def __init__(self, mark: Any, why: str) -> None:
        super().__init__(problem=why, problem_mark=mark)


class _Loader(SafeLoader):
    deep = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) or event.anchor:
            raise NotPlain(
                event.start_mark, "anchors and aliases are not read; write the value again"
            )
        if event.tag:
            raise NotPlain(
                event.start_mark, f"the tag {event.tag[:40]} is not read; write a plain value"
            )
        if self.deep > MOST_DEEP:
            raise NotPlain(event.start_mark, "lists and mappings stand too deep inside each other")
        self.deep += 1
        node = super().compose_node(parent, index)
        self.deep -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag in _NUMBERS and len(node.value) > MOST_DIGITS:
            raise NotPlain(node.start_mark, f"a number has more than {MOST_DIGITS} digits")
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in keys(node):
            if key.value in seen:
                raise NotPlain(key.start_mark, f"the key {key.value[:40]!r} stands here twice")
            seen.add(key.value)
        return node


def composed(content: bytes) -> Node | None:
    """The nodes of the one document; raises `YAMLError`."""
    loader = _Loader(content)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def keys(node: MappingNode) -> Iterator[ScalarNode]:
    """The keys of a mapping; raises `NotPlain` for one that is no plain word."""
    for key, _ in node.value:
        if not isinstance(key, ScalarNode):
            raise NotPlain(key.start_mark, "a key is one word, without brackets or braces")
        yield key
