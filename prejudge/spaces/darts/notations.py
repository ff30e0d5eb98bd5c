"""Reading and writing genotypes in the notations that papers' code uses.

=============================  =====================================================================================
notation                       where it comes from
=============================  =====================================================================================
``Genotype(normal=[…], …)``    text of the named tuple: DARTS, PC-DARTS, P-DARTS, DrNAS, ISTA-NAS, DARTS-PT, HNAS
the same, edges by node        ``[[(op, p), (op, p)], …]``: StacNAS; ``[((op, p, weight), …), …]``: AutoDL, TE-NAS
a dict or JSON                 ``{"normal": …, "normal_concat": …, "reduce": …, "reduce_concat": …}``
a pair of integer lists        ``(((p, op), …), ((p, op), …))``: NAS-Bench-301, NASLib ("compact"), BANANAS
a ConfigSpace dict             ``NetworkSelectorDatasetInfo:darts:edge_normal_0`` …: NAS-Bench-301, YAHPO Gym
a name                         ``DARTS_V2``: :mod:`prejudge.spaces.darts.published`
=============================  =====================================================================================

Text is parsed as literals and never evaluated; pickles are not read.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prejudge.errors import InputError, quoted
from prejudge.formats.literals import brief, read_value, syntax, value_of
from prejudge.spaces.darts.candidates import DARTS7, DARTS8, EDGES, edge_index
from prejudge.spaces.darts.genotype import CELLS, FIELDS, Edge, Genotype, fields_of
from prejudge.spaces.darts.published import published_genotype

CONFIG_PREFIX = "NetworkSelectorDatasetInfo:darts:"

_OTHER_NAMES = {  # AutoDL-Projects, and TE-NAS after it, call the same operations so
    "dua_sepc_3x3": "sep_conv_3x3",
    "dua_sepc_5x5": "sep_conv_5x5",
    "dil_sepc_3x3": "dil_conv_3x3",
    "dil_sepc_5x5": "dil_conv_5x5",
}
_CALL = re.compile(r"(?:\b(\w+)\s*=\s*)?\bGenotype\s*\(")
_NAME = re.compile(r"[\w:.+ -]+")
_YAHPO_COLON = "_COLON_"
_RECORD_KEY = "optimized_hyperparamater_config"  # sic: where a NAS-Bench-301 result file keeps its configuration


NOTATIONS: Mapping[str, Sequence[str]] = {"naslib": DARTS7, "bananas": DARTS8}
"""The operations that indices may count: NASLib and NAS-Bench-301 count the seven without ``none``; BANANAS, Li &
Talwalkar and early NASLib count from ``none``."""


def parse_genotype(value: Any, notation: str | None = None) -> Genotype:
    """Read a genotype in any notation of the module's table.

    Args:
        value: A :class:`Genotype`, a text, a mapping, a pair of cells, or any object with the attributes ``normal``,
            ``normal_concat``, ``reduce`` and ``reduce_concat``. Of several ``Genotype(…)`` in a text (a search log
            prints one an epoch) the last counts, unless they are assigned to different names.
        notation: One of :data:`NOTATIONS`; a pair of integer lists needs it.

    Raises:
        InputError: It is none of these, the cells cannot be built, or operations are indices without a notation.
    """
    if isinstance(value, Genotype):
        return value
    if isinstance(value, str):
        return _from_text(value, notation)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if all(hasattr(value, field) for field in FIELDS):
        return _from_fields({field: getattr(value, field) for field in FIELDS})
    if _listed(value) and len(value) == 2:
        return from_pair(value, None if notation is None else NOTATIONS[notation])
    raise InputError(f"genotype: cannot read one from {type(value).__name__} {brief(value)}")


def from_pair(cells: Any, operations: Sequence[str] | None = DARTS7) -> Genotype:
    """Read (normal cell, reduction cell), each a list of edges; every node is concatenated.

    Args:
        cells: Edges are (predecessor, operation index) or (operation, predecessor), flat or by node; shape
            ``(2, 8, 2)`` as an array of integers.
        operations: The operations that the indices count, see :data:`NOTATIONS`; None where there may be no indices.

    Raises:
        InputError: An edge is neither, or its index is out of range.
    """
    fields: dict[str, Any] = {}
    for cell, given in zip(CELLS, cells, strict=True):
        edges = []
        for edge in _flat(cell, given):
            if _listed(edge) and len(edge) == 2 and all(isinstance(v, int | np.integer) for v in edge):
                if operations is None:
                    raise InputError(
                        f"genotype: operation {edge[1]} in the {cell} cell is counted from max_pool_3x3 with "
                        "notation='naslib', from none with notation='bananas'; say which"
                    )
                predecessor, index = map(int, edge)
                if not 0 <= index < len(operations):
                    raise InputError(
                        f"genotype: operation index {quoted(index)} in the {cell} cell is outside "
                        f"0..{len(operations) - 1} ({', '.join(operations)})"
                    )
                edge = (operations[index], predecessor)
            edges.append(edge)
        fields[cell] = edges
        fields[f"{cell}_concat"] = range(2, 2 + len(edges) // 2)
    return _from_fields(fields)


def to_dict(genotype: Genotype) -> dict[str, list[Any]]:
    """The four fields as lists, ready for JSON."""
    fields: dict[str, list[Any]] = {}
    for cell, edges, concat in genotype.cells():
        fields[cell] = [list(edge) for edge in edges]
        fields[f"{cell}_concat"] = list(concat)
    return fields


def to_pair(genotype: Genotype, operations: Sequence[str] = DARTS7) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The pair of (predecessor, operation index) lists of NASLib and NAS-Bench-301; see :func:`from_pair`.

    Raises:
        InputError: The genotype has an operation that is not among ``operations``, or a node that is not concatenated.
    """
    cells = []
    for cell, edges, concat in genotype.cells():
        _require_full_concat("a pair of integer lists", cell, edges, concat)
        for operation, _ in edges:
            if operation not in operations:
                raise InputError(f"genotype: {operation} in the {cell} cell has no index among {', '.join(operations)}")
        cells.append(tuple((predecessor, operations.index(operation)) for operation, predecessor in edges))
    return tuple(cells)


def to_config(genotype: Genotype) -> dict[str, str]:
    """The configuration dict of NAS-Bench-301: the operation of each edge that is there, the inputs of nodes 1 to 3.

    Raises:
        InputError: The genotype is outside NAS-Bench-301: a node takes one state twice, an operation is not among the
            seven, there are not four nodes, or one is not concatenated.
    """
    config = {}
    for cell, edges, concat in genotype.cells():
        _require_full_concat("NAS-Bench-301", cell, edges, concat)
        if len(edges) != 8:
            raise InputError(f"genotype: NAS-Bench-301 has four nodes a cell, the {cell} cell has {len(edges) // 2}")
        for node in range(4):
            pair = sorted(edges[2 * node : 2 * node + 2], key=lambda edge: edge[1])
            if pair[0][1] == pair[1][1]:
                raise InputError(
                    f"genotype: node {node} of the {cell} cell takes one state twice; NAS-Bench-301 cannot"
                )
            for operation, predecessor in pair:
                if operation not in DARTS7:
                    raise InputError(f"genotype: NAS-Bench-301 has no {operation} (node {node} of the {cell} cell)")
                config[f"{CONFIG_PREFIX}edge_{cell}_{edge_index(node, predecessor)}"] = operation
            if node:
                config[f"{CONFIG_PREFIX}inputs_node_{cell}_{node + 2}"] = f"{pair[0][1]}_{pair[1][1]}"
    return config


def _from_text(text: str, notation: str | None) -> Genotype:
    own = fields_of(text)
    if own is not None:  # tables have 10⁵ of them, and the general way takes five times as long
        return _from_fields(own)
    found = list(_CALL.finditer(text))
    stripped = text.strip()
    if stripped[:1] in ("{", "[", "("):
        try:
            return parse_genotype(_named(read_value, stripped), notation)
        except InputError:
            if not found:  # a log may start with such a character too
                raise
    if found:
        names = {match[1] for match in found} - {None}
        if len(names) > 1:
            raise InputError(f"genotype: the text holds {len(names)} of them ({', '.join(sorted(names))}); give one")
        return _from_call(text, found[-1].end() - 1)
    if _NAME.fullmatch(stripped):
        return published_genotype(stripped).genotype
    raise InputError(f"genotype: no Genotype(…), JSON or published name in {brief(text)}")


def _from_call(text: str, start: int) -> Genotype:
    depth = 0
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            break
    else:
        raise InputError(f"genotype: the text ends inside {brief('Genotype' + text[start:])}")
    call = _named(syntax, "Genotype" + text[start : end + 1])
    if not isinstance(call, ast.Call) or len(call.args) > len(FIELDS):
        raise InputError(f"genotype: cannot read {brief(text[start : end + 1])}")
    given: dict[str, Any] = dict(zip(FIELDS, [_named(value_of, node) for node in call.args], strict=False))
    given |= {keyword.arg: _named(value_of, keyword.value) for keyword in call.keywords if keyword.arg}
    return _from_fields(given)


def _named(read: Callable[[Any], Any], source: Any) -> Any:
    """What a reader of literals returns; its errors say that a genotype was meant."""
    try:
        return read(source)
    except ValueError as error:
        raise InputError(f"genotype: {error}") from None


def _from_mapping(given: Mapping[Any, Any]) -> Genotype:
    if _RECORD_KEY in given:
        return _from_mapping(given[_RECORD_KEY])
    named = {key.replace(_YAHPO_COLON, ":"): value for key, value in given.items() if isinstance(key, str)}
    if any(key.startswith(CONFIG_PREFIX) for key in named):
        return _from_config(named)
    return _from_fields(given)


def _from_fields(given: Mapping[Any, Any]) -> Genotype:
    for field in FIELDS:
        if field not in given:
            raise InputError(f"genotype: {field!r} is missing; {', '.join(FIELDS)} are needed")
    normal, reduce = ([_plain(edge) for edge in _flat(cell, given[cell])] for cell in CELLS)
    return Genotype(normal, given["normal_concat"], reduce, given["reduce_concat"])  # type: ignore[arg-type]


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _flat(cell: str, given: Any) -> list[Any]:
    """The edges of a cell that lists them flat or node by node."""
    if not _listed(given):
        raise InputError(f"genotype: the {cell} cell must be a list, not {type(given).__name__} {brief(given)}")
    by_node = [_listed(item) and len(item) > 0 and _listed(item[0]) for item in given]
    if not any(by_node):
        return list(given)
    for node, item in enumerate(given):
        if not by_node[node] or len(item) != 2:
            raise InputError(f"genotype: node {node} of the {cell} cell must have two edges, not {brief(item)}")
    return [edge for item in given for edge in item]


def _plain(edge: Any) -> Any:
    """An edge without the weight that some logs add, its operation by DARTS' name."""
    if _listed(edge) and len(edge) == 3 and isinstance(edge[2], float | np.floating):
        edge = edge[:2]
    if _listed(edge) and len(edge) == 2 and isinstance(edge[0], str):
        return (_OTHER_NAMES.get(edge[0], edge[0]), edge[1])
    return edge


def _from_config(config: Mapping[str, Any]) -> Genotype:
    fields: dict[str, Any] = {}
    for cell in CELLS:
        active: dict[int, list[Edge]] = {node: [] for node in range(4)}
        for index, (node, predecessor) in enumerate(EDGES):
            operation = config.get(f"{CONFIG_PREFIX}edge_{cell}_{index}")
            if operation is not None and not (isinstance(operation, float) and math.isnan(operation)):
                active[node].append((operation, predecessor))
        for node, edges in active.items():
            if len(edges) != 2:
                raise InputError(
                    f"genotype: the configuration has {len(edges)} edges into node {node} of the {cell} cell, not 2"
                )
            stated = config.get(f"{CONFIG_PREFIX}inputs_node_{cell}_{node + 2}")
            inputs = f"{edges[0][1]}_{edges[1][1]}"
            if isinstance(stated, str) and stated != inputs:
                raise InputError(
                    f"genotype: the configuration names the inputs {stated} of node {node} of the {cell} cell, but has "
                    f"edges from {inputs}"
                )
        fields[cell] = [edge for edges in active.values() for edge in edges]
        fields[f"{cell}_concat"] = range(2, 6)
    return _from_fields(fields)


def _require_full_concat(notation: str, cell: str, edges: Sequence[Edge], concat: Sequence[int]) -> None:
    if sorted(concat) != list(range(2, 2 + len(edges) // 2)):
        raise InputError(
            f"genotype: {notation} concatenates every node, the {cell} cell concatenates states {list(concat)}"
        )
