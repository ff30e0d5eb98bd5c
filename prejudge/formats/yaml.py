"""YAML as recipes use it: plain values in sections. What else YAML can do is refused, before it is done.

No tag makes an object, a text does not become a date, no key is there twice, and neither nesting nor aliases
(``*name``, which may name one another until a few lines mean billions of values) make more of a file than a reader can
take.
"""

from __future__ import annotations

from typing import Any

import yaml

_LONGEST = 32 * 2**10
_DEEPEST = 30
_MOST_VALUES = 10_000
_MOST_DIGITS = 18
_TOO_DEEP = f"it nests more than {_DEEPEST} deep"
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """The safe loader, for plain values alone; it reads no deeper than they may nest, since depth costs its square."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth == _DEEPEST:
            raise ValueError(_TOO_DEEP)
        self.depth += 1
        try:
            node: yaml.Node | None = super().compose_node(parent, index)
            return node
        finally:
            self.depth -= 1


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(str(node.value)) > _MOST_DIGITS:
        raise ValueError(f"{str(node.value)[:20]}… is too large a number")
    return int(yaml.SafeLoader.construct_yaml_int(loader, node))


_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _PLAIN
} | {"tag:yaml.org,2002:int": _construct_int}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str) -> Any:
    """The content of a YAML text; raises :class:`ValueError` for anything but plain values, says why in one line."""
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST // 2**10} KiB")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}, _DEEPEST) > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES:,} values, those of aliases counted each time")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (TypeError, OverflowError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f"a value of it cannot be read ({' '.join(str(error).split())})") from None
    finally:
        if loader is not None:
            loader.dispose()


def _values(node: yaml.Node, known: dict[int, int], deeper: int) -> int:
    """Count the values that a node stands for; refuse keys that are there twice, and what nests too deep."""
    if id(node) in known:
        return known[id(node)]
    if not deeper:
        raise ValueError(_TOO_DEEP)
    known[id(node)] = _MOST_VALUES + 1  # until it is known; thus, too, where it contains itself
    parts = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise ValueError(f"{key.value[:40]!r} is there twice (again in line {key.start_mark.line + 1})")
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else None)
    known[id(node)] = 1 + sum(_values(part, known, deeper - 1) for part in parts)
    return known[id(node)]
