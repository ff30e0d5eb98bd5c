"""Reading cells in the notations that the benchmark's packages, search codes and tuners use.

==========================================  ========================================================================
notation                                    where it comes from
==========================================  ========================================================================
``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``     the official string; also inside ``Structure(4 nodes with …)`` and other
                                            lines of a log, of which the last one counts
``(((op, 0),), ((op, 0), (op, 1)), …)``     AutoDL-Projects' ``Structure``, nats_bench's ``str2lists``
a matrix of 4 x 4                           nats_bench's ``str2matrix``: ``[target][source]``, official indices
``{"arch_str": …}``                         ``get_net_config``, and the records of score files
``{"1<-0": op}``                            BOHB in AutoDL-Projects: target and source
``{"0_1": op}``, ``{"edge_0_1": op}``       NNI, constrained TPE: source and target
``{"hp_x0": op}``                           syne-tune: in the order of the official string
six names                                   in the order of the official string
six integers                                one of :data:`NOTATIONS`, which has to be said
==========================================  ========================================================================

Texts of all of them, as JSON or Python, are read as well; nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted, unknown
from prejudge.formats.literals import read_value
from prejudge.spaces.nasbench201.cell import CONV1, CONV3, EDGES, NONE, OPERATIONS, POOL, SKIP, Cell201

NOTATIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "official": ((NONE, SKIP, CONV1, CONV3, POOL), (0, 1, 2, 3, 4, 5)),
    "naslib": ((SKIP, NONE, CONV3, CONV1, POOL), (0, 1, 3, 2, 4, 5)),
    "naszilla": ((POOL, CONV1, CONV3, NONE, SKIP), (0, 1, 2, 3, 4, 5)),
}
"""The meanings that six integers may have: the operation of each integer, and where each edge of ``EDGES`` stands.

``official``: the packages of the benchmark, MeCo, RoBoT. ``naslib``: NASLib, NAS-Bench-Suite-Zero, the hardware and
robustness tables; edges source by source. ``naszilla``: naszilla, FLAN."""

_TERM = re.compile(r"(\w+)~(\d)")
_RUN = re.compile(r"[\w~|+]+")
_INTEGERS = re.compile(r"[(\[]?\s*[0-9](\s*,\s*[0-9]){5}\s*,?\s*[)\]]?|[(\[]?\s*[0-9](\s+[0-9]){5}\s*[)\]]?")
_DIGITS = re.compile(r"[0-9]+")
_SIZES = re.compile(r"\d+(:\d+){4}")
_LITERAL = ("{", "[", "(", "array(", "np.", "numpy.")
_SAME = {"conv_1x1": CONV1, "conv_3x3": CONV3}
_KEYS: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(r"([0-9])<-([0-9])"), True),
    (re.compile(r"(?:edge_)?([0-9])_([0-9])"), False),
)
"""Names of edges by their two nodes, and whether the target comes first."""
_NUMBERED = re.compile(r"hp_x([0-9])")
_STRINGS = ("arch_str", "arch")


def read_cell(value: Any, notation: str | None = None) -> Cell201:
    """Read a cell in any notation of the module's table: all that the space reads but its index.

    Args:
        value: A text, a mapping, a sequence, an array, or an object with AutoDL's ``nodes``.
        notation: One of :data:`NOTATIONS`, which integers need.

    Raises:
        InputError: It is none of these, or integers have no notation; the message has all their readings.
    """
    if isinstance(value, str):
        return _from_text(value, notation)
    if isinstance(value, Mapping):
        return _from_mapping(value, notation)
    if isinstance(getattr(value, "nodes", None), list | tuple):
        value = value.nodes
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise InputError(f"nasbench201: cannot read a cell from {type(value).__name__} {quoted(value)}")
    items = list(value)
    if len(items) == 4 and all(_listed(row) and len(row) == 4 for row in items):
        return _from_matrix(items)
    if any(map(_listed, items)):
        return _from_nodes(items, notation)
    if len(items) != len(EDGES):
        raise InputError(f"nasbench201: a cell has six edges, {quoted(items)} has {len(items)}")
    if all(isinstance(item, str) and len(item) == 1 and item in "0123456789" for item in items):
        items = [int(item) for item in items]
    if all(isinstance(item, str) for item in items):
        return Cell201(tuple(_operation(item, notation) for item in items))
    return _from_integers(items, notation)


@lru_cache(maxsize=65536)
def parse_text(text: str) -> Cell201:
    """Read the official string; raises :class:`~prejudge.errors.InputError` for anything else."""
    nodes = text.strip().split("+")
    if len(nodes) != 3:
        raise InputError(
            f"nasbench201: {quoted(text)} has {len(nodes)} node groups; three are needed: |op~0|+|op~0|op~1|+|…|"
        )
    edges: list[int] = []
    for target, node in enumerate(nodes, start=1):
        terms = [t for t in node.strip().split("|") if t]
        if len(terms) != target:
            raise InputError(f"nasbench201: node {target} in {quoted(text)} has {len(terms)} edges, not {target}")
        for source, term in enumerate(terms):
            match = _TERM.fullmatch(term.strip())
            if match is None or int(match[2]) != source:
                raise InputError(f"nasbench201: {quoted(term)} in {quoted(text)} should read OPERATION~{source}")
            edges.append(_operation(match[1], None))
    return Cell201(tuple(edges))


def _from_text(text: str, notation: str | None) -> Cell201:
    stripped = text.strip().strip("\"'")
    if stripped.startswith("|"):
        return parse_text(stripped)
    if _INTEGERS.fullmatch(stripped) or (len(stripped) == len(EDGES) and _DIGITS.fullmatch(stripped)):
        return _from_integers([int(digit) for digit in stripped if digit.isdecimal()], notation)
    if _SIZES.fullmatch(stripped):
        raise InputError(f"nasbench201: {quoted(text)} is an architecture of the space nats-size")
    if "@" in stripped:
        raise InputError(f"nasbench201: {quoted(text)} names a class of cells, as to_unique_str does; give one cell")
    # Whole runs of its characters, so that a longer text is not read as the part of it that would fit.
    runs = [run[run.index("|") : run.rindex("|") + 1] for run in _RUN.findall(stripped) if "~" in run and "|" in run]
    in_log = [run for run in runs if "~" in run]
    if stripped.startswith(_LITERAL):
        try:
            value = read_value(stripped)
        except ValueError as error:
            if not in_log:  # a line of a log may start with a bracket, too
                raise InputError(f"nasbench201: {error}") from None
        else:
            if isinstance(value, str):
                raise InputError(f"nasbench201: {quoted(text)} is a text in brackets; give the text itself")
            return read_cell(value, notation)
    return parse_text(in_log[-1] if in_log else stripped)


def _from_mapping(given: Mapping[Any, Any], notation: str | None) -> Cell201:
    if given.get("name") == "infer.shape.tiny":
        raise InputError("nasbench201: a configuration 'infer.shape.tiny' is an architecture of the space nats-size")
    for key in _STRINGS:
        if isinstance(given.get(key), str):
            return parse_text(given[key])
    edges: dict[tuple[int, int], int] = {}
    for key, operation in given.items():
        edge = _edge(key) if isinstance(key, str) else None
        if edge is None:
            continue  # of a training, not of the cell
        if edge not in EDGES:
            raise InputError(f"nasbench201: {quoted(key)} is not an edge; edges lead from node 0, 1, 2 to a later one")
        if edge in edges:
            raise InputError(f"nasbench201: the edge from node {edge[1]} to node {edge[0]} is there twice")
        edges[edge] = _operation(operation, notation)
    if len(edges) != len(EDGES):
        raise InputError(
            f"nasbench201: {len(edges)} of six edges are named in {quoted(dict(given))}; name them all as 1<-0, 0_1, "
            "edge_0_1 or hp_x0, or give the string as arch_str"
        )
    return Cell201(tuple(edges[edge] for edge in EDGES))


def _edge(key: str) -> tuple[int, int] | None:
    """(target, source) of the edge that a key names."""
    for pattern, target_first in _KEYS:
        if found := pattern.fullmatch(key):
            first, second = int(found[1]), int(found[2])
            return (first, second) if target_first else (second, first)
    if found := _NUMBERED.fullmatch(key):
        number = int(found[1])
        return EDGES[number] if number < len(EDGES) else (number, number)
    return None


def _from_nodes(nodes: Sequence[Any], notation: str | None) -> Cell201:
    """Read ``((op, source), …)`` of each node, its sources in any order."""
    if len(nodes) != 3:
        raise InputError(f"nasbench201: a cell has three nodes with edges, {quoted(nodes)} has {len(nodes)}")
    edges: dict[tuple[int, int], int] = {}
    for target, node in enumerate(nodes, start=1):
        for edge in node if _listed(node) else [node]:
            if not _listed(edge) or len(edge) != 2 or not _whole(edge[1]):
                raise InputError(f"nasbench201: node {target} has {quoted(edge)}; an edge is (operation, source)")
            edges[target, int(edge[1])] = _operation(edge[0], notation)
        if {s for t, s in edges if t == target} != set(range(target)) or len(node) != target:
            raise InputError(f"nasbench201: node {target} needs one edge from each of the nodes 0..{target - 1}")
    return Cell201(tuple(edges[edge] for edge in EDGES))


def _from_matrix(rows: Sequence[Sequence[Any]]) -> Cell201:
    outside = [(t, s) for t in range(4) for s in range(4) if s >= t and rows[t][s] != 0]
    if outside:
        t, s = outside[0]
        raise InputError(f"nasbench201: matrix[{t}][{s}] is {quoted(rows[t][s])}; edges lead to later nodes only")
    return _from_integers([rows[t][s] for t, s in EDGES], "official")


def _from_integers(numbers: Sequence[Any], notation: str | None) -> Cell201:
    # NumPy reads integers from a text file as 4.0.
    numbers = [int(n) if isinstance(n, float) and n.is_integer() else n for n in numbers]
    readings: dict[str, Cell201] = {}
    for name, (operations, places) in NOTATIONS.items():
        for number in numbers:
            if not _whole(number) or not 0 <= int(number) < len(operations):
                raise InputError(
                    f"nasbench201: {quoted(number)} in {quoted(list(numbers))} is not an operation; give six names, or "
                    f"six of 0..{len(operations) - 1} with a notation"
                )
        readings[name] = Cell201(tuple(operations[int(numbers[place])] for place in places))
    if notation is not None:
        return readings[notation]
    raise InputError(
        f"nasbench201: six integers are {readings['official']} with notation='official' and {readings['naslib']} with "
        f"notation='naslib'; say which (with 'naszilla' they are {readings['naszilla']})"
    )


def _operation(value: Any, notation: str | None) -> int:
    """Index of an operation, given its name, or with a notation its number."""
    if isinstance(value, str) and value in OPERATIONS:
        return OPERATIONS.index(value)
    if isinstance(value, str) and value in _SAME:
        return _SAME[value]
    if not _whole(value):
        raise unknown("nasbench201 operation", value, OPERATIONS)
    if notation is None:
        raise InputError(
            f"nasbench201: operation {quoted(value)} has a meaning with a notation only: {', '.join(NOTATIONS)}"
        )
    operations, _ = NOTATIONS[notation]
    if not 0 <= int(value) < len(operations):
        raise InputError(f"nasbench201: operation {quoted(value)} is outside 0..{len(operations) - 1}")
    return operations[int(value)]


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
