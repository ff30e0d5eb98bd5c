"""Questions about an autograd graph: what depends on what."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def nodes_above(output: Tensor) -> set[Any]:
    """All graph nodes that ``output`` depends on."""
    found: set[Any] = set()
    stack = [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.add(node)
            stack.extend(child for child, _ in node.next_functions)
    return found


def nodes_from(leaf: Tensor, output: Tensor) -> set[Any]:
    """The nodes above ``output`` that depend on ``leaf``, a tensor that requires a gradient."""
    depends: dict[Any, bool] = {}
    stack = [output.grad_fn] if output.grad_fn is not None else []
    while stack:
        children = [child for child, _ in stack[-1].next_functions if child is not None]
        pending = [child for child in children if child not in depends]
        if pending:
            stack.extend(pending)
            continue
        node = stack.pop()
        depends[node] = getattr(node, "variable", None) is leaf or any(depends[child] for child in children)
    return {node for node, yes in depends.items() if yes}
