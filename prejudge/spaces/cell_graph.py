"""A cell as a plain graph: what drawing a cell needs to know of a space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CellGraph:
    """A directed acyclic graph whose vertices, or edges, carry operations.

    Attributes:
        vertices: Label of each vertex, inputs first; every edge leads from an earlier to a later one.
        edges: ``(source, target, label)`` by vertex position; the label is ``""`` where the vertices carry the
            operations. Two vertices may be joined by several edges.
    """

    vertices: tuple[str, ...]
    edges: tuple[tuple[int, int, str], ...]
