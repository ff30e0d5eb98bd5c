"""Targets: how architectures are written, in every space, and the files that hold them."""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from prejudge.errors import InputError
from prejudge.spaces import genotype_names, published_genotype, read_genotype, space
from prejudge.spaces.darts.genotype import OPERATIONS as DARTS_OPERATIONS
from prejudge.spaces.darts.notations import parse_genotype, to_config, to_dict, to_pair
from prejudge.spaces.darts.space import DARTS
from prejudge.spaces.nasbench101.cell import OPERATIONS as OPERATIONS_101
from prejudge.spaces.nasbench101.cell import Cell101, record_text
from prejudge.spaces.nasbench101.space import NASBench101
from prejudge.spaces.nasbench201.space import OPERATIONS as OPERATIONS_201
from tests.fuzz.harness import file_target, text_target

CELL_201 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
CELL_101 = "110.01.1:conv3x3,maxpool3x3"
MATRIX_101 = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
OPS_101 = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
GENOTYPE = str(published_genotype("DARTS_V2").genotype)


class _FewCells:
    """Stands for the enumeration of NAS-Bench-101, which takes a minute to compute: a table of three cells."""

    cells = (CELL_101, "1:", "10.1:conv1x1")

    def find(self, digest: str) -> int | None:
        return int(digest, 16) % 3 if digest.startswith("0") else None

    def cell(self, index: int) -> Cell101:
        return space("nasbench101").parse(self.cells[index % 3])


@cache
def nasbench101() -> NASBench101:
    found = NASBench101()
    found.__dict__["_all"] = _FewCells()
    return found


def _round_trip(where: Any) -> Callable[[Any], None]:
    """Parsing, and then whatever must hold of an architecture of a space."""

    def read(value: Any) -> None:
        arch = where.parse(value)
        assert where.parse(str(arch)) == arch
        assert isinstance(where.canonical(arch), str)
        if isinstance(where, DARTS):
            assert parse_genotype(to_dict(arch)) == arch

    return read


def _genotype_text(rng: random.Random) -> bytes:
    """A genotype in some notation, or nearly so."""
    edges = {cell: [[rng.choice(DARTS_OPERATIONS), rng.randrange(i // 2 + 2)] for i in range(8)] for cell in "nr"}
    if rng.random() < 0.2:
        del edges["n"][rng.randrange(8)]
    by_node = {c: [e[i : i + 2] for i in range(0, len(e), 2)] for c, e in edges.items()}
    weighted = {c: [[[*e, rng.random()] for e in node] for node in nodes] for c, nodes in by_node.items()}
    cells = rng.choice((edges, by_node, weighted))
    concat = rng.choice(("range(2, 6)", "[2, 3, 4, 5]", "range(0, 10**12)", "range(2)", "np.arange(4)", "(2,)", "[]"))
    fields = [("normal", cells["n"]), ("normal_concat", concat), ("reduce", cells["r"]), ("reduce_concat", concat)]
    kind = rng.randrange(4)
    if kind == 0:
        text = "Genotype(" + ", ".join(f"{name}={value}" for name, value in fields) + ")"
        text = rng.choice((text, f"epoch 1\n{text}\nepoch 2 {text}", f"A = {text}\nB = {text}", text.replace("]", ")")))
    elif kind == 1:
        text = json.dumps({name: [2, 3, 4, 5] if isinstance(v, str) else v for name, v in fields})
    elif kind == 2:
        pair = [[[rng.randrange(i // 2 + 2), rng.randrange(9)] for i in range(8)] for _ in range(2)]
        text = repr(tuple(tuple(map(tuple, cell)) for cell in pair))
    else:
        config = to_config(space("darts").sample(_numpy(rng)))
        config[rng.choice([*config, "x"])] = rng.choice(["none", "0_1", None, 1.5, [1]])
        text = json.dumps(config)
    return text.encode()


def _numpy(rng: random.Random) -> Any:
    import numpy as np

    return np.random.default_rng(rng.randrange(2**32))


def _value(text: str) -> Any:
    """A plain value such as a JSON file, or a caller, gives; what cannot be read is no input."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError("no value") from None


def _of_value(read: Callable[[Any], None]) -> Callable[[str], None]:
    return lambda text: read(_value(text))


_PYTHON = (
    "range(2, 6)", "range(10**9)", "np.int64(2)", "tuple(", "list(", "lambda: 0", "[0] * 10**9", "f'{1}'", "b'x'",
    "1e308", "0x" + "f" * 9000, "1j", "...", "{**{}}", "*x", "(" * 300, "[" * 3000, "{" * 3000, "-" * 3000, "1_0",
    "None", "True", "\"", "'", "(('x', 1), ('y', 2))", "__class__", ".format(", "10**10**10", "'a' 'b'", "{1: {}}",
)  # fmt: skip

_NNI = {"0_1": "conv_3x3", "0_2": "none", "1_2": "conv_1x1", "0_3": "none", "1_3": "none", "2_3": "skip_connect"}
_SEEDS_201 = [
    f"[2021-04-30 03:41:23] Structure(4 nodes with {CELL_201})",
    repr(((("none", 0),), (("none", 0), ("none", 1)), (("none", 0), ("none", 1), ("nor_conv_3x3", 2)))),
    json.dumps(_NNI),
    json.dumps({f"hp_x{i}": name for i, name in enumerate(_NNI.values())}),
    json.dumps({f"{key[2]}<-{key[0]}": name for key, name in _NNI.items()}),
    json.dumps({"name": "infer.tiny", "C": 16, "N": 5, "arch_str": CELL_201}),
    "[[0.0, 0, 0, 0], [4.0, 0, 0, 0], [2.0, 1, 0, 0], [2, 1, 1, 0]]",
    "(np.int64(4), 0, 3, 1, 4, 3)",
]
_TOKENS_201 = [
    *OPERATIONS_201, "conv_1x1", "~0", "~1", "~2", "|", "+", "²", "٣", "arch_str", "edge_", "<-", "Structure(", "@",
]  # fmt: skip
text_target(
    "nasbench201",
    _round_trip(space("nasbench201")),
    [CELL_201, " 15624 ", "0", "²", "-1", "9" * 5000, "433000", "4 3 3 0 0 0", *_SEEDS_201],
    [*_TOKENS_201, *_PYTHON],
)
text_target(
    "nasbench201-integers",
    lambda text: _round_trip(space("nasbench201"))(space("nasbench201").parse(text, notation="naslib")),
    ["433000", "(4, 3, 3, 0, 0, 0)", "[4 3 3 0 0 0]", "array([4, 3, 3, 0, 0, 0])", *_SEEDS_201],
    [*_TOKENS_201, "0", "4", "5", "-1", ",", "[", "(", "array(", *_PYTHON],
)

_SEEDS_SIZE = [
    "8:8:8:16:32", "11", "[8, 8, 8, 16, 32]", '{"name": "infer.shape.tiny", "channels": "8:8:8:8:8"}',
    '{"layer-0": 8, "layer-1": 8, "layer-2": 8, "layer-3": 16, "layer-4": 32}', "[03:41:23] 64:64:64:64:64 91.2%",
]  # fmt: skip
text_target(
    "nats-size",
    _round_trip(space("nats-size")),
    _SEEDS_SIZE,
    [":", "8", "64", "channels", "genotype", "layer-", "~", *_PYTHON],
)

_SEEDS_101 = [
    CELL_101,
    json.dumps({"matrix": MATRIX_101, "ops": OPS_101}),
    json.dumps({"module_adjacency": MATRIX_101, "module_operations": OPS_101}),
    repr((MATRIX_101, OPS_101)),
    repr(("0110000100010000", ",".join(OPS_101))),
    "0" * 32,
    "7" * 32,
    "12",
]
text_target(
    "nasbench101",
    _round_trip(nasbench101()),
    _SEEDS_101,
    [*OPERATIONS_101, "matrix", "ops", "input", "output", "[0, 1]", "0.0", "true", "1." * 500, *_PYTHON],
)
text_target(
    "nasbench101-record",
    lambda text: _round_trip(nasbench101())(record_text(*(text.split(" ", 1) if " " in text else (text, "")))),
    [f"0110000100010000 {','.join(OPS_101)}", "0100 input,output"],
    [*OPERATIONS_101, "input", "output", "0", "1", "01" * 5000],
)

_SEEDS_DARTS = [
    GENOTYPE,
    f"2026-01-01 INFO genotype = {GENOTYPE}\n",
    json.dumps(to_dict(published_genotype("DARTS_V2").genotype)),
    repr(to_pair(published_genotype("DARTS_V2").genotype)),
    json.dumps(to_config(published_genotype("DARTS_V2").genotype)),
    json.dumps({"optimized_hyperparamater_config": to_config(published_genotype("DARTS_V2").genotype)}),
    *(name for name in genotype_names()[:4]),
    str(published_genotype("AmoebaNet").genotype),
]
_TOKENS_DARTS = [
    *DARTS_OPERATIONS, "dua_sepc_3x3", "Genotype(", "normal=", "reduce=", "normal_concat=", "reduce_concat=",
    '"normal"', '"reduce"', "NetworkSelectorDatasetInfo:darts:edge_normal_0", "_COLON_", "inputs_node_normal_3",
    "optimized_hyperparamater_config", *_PYTHON,
]  # fmt: skip
text_target("genotype", _round_trip(space("darts")), _SEEDS_DARTS, _TOKENS_DARTS, generate=_genotype_text)


def _members(text: str) -> None:
    arch = parse_genotype(text)
    for name in ("darts-s1", "darts-s2", "darts-s3", "darts-s4"):
        where = space(name)
        try:
            _round_trip(where)(arch)
            _round_trip(where)(text)
        except InputError:
            continue


text_target(
    "genotype-members",
    _members,
    [GENOTYPE, *(str(space(f"darts-s{n}").sample(_numpy(random.Random(n)))) for n in (1, 2, 3, 4))],
    _TOKENS_DARTS,
    generate=_genotype_text,
)
text_target("genotype-name", published_genotype, [*genotype_names(), "x" * 100_000], ["_", "V2", "darts"])

_VALUES = {
    "nasbench201": (space("nasbench201"), [json.dumps(["none"] * 6), "[0, 1, 2, 3, 4, 0]", "3", *_SEEDS_201[1:7]]),
    "nats-size": (space("nats-size"), _SEEDS_SIZE[2:5]),
    "nasbench101": (nasbench101(), _SEEDS_101[1:5]),
    "darts": (space("darts"), _SEEDS_DARTS[2:6]),
}
for _name, (_where, _seeds) in _VALUES.items():
    text_target(
        f"{_name}-value",
        _of_value(_round_trip(_where)),
        [
            *_seeds, "true", "{}", "null", "[[], []]", "[[[]], [[]]]", '["", ""]', "1e999", "[" * 500 + "]" * 500,
            *(seed for _, others in _VALUES.values() for seed in others),
        ],
        [*_TOKENS_DARTS, *OPERATIONS_101, *OPERATIONS_201, "NaN"],
        generate=_genotype_text if _name == "darts" else None,
    )  # fmt: skip

_SAVED = json.dumps(
    {"format": "prejudge genotype", "version": 1, "space": "darts", "network": {"form": "standard"}, "origin": {}}
    | to_dict(published_genotype("DARTS_V2").genotype)
)


def _read_file(path: Path) -> None:
    saved = read_genotype(path)
    assert parse_genotype(str(saved.genotype)) == saved.genotype


file_target(
    "genotype-file",
    "found.json",
    _read_file,
    lambda: [text.encode() for text in (_SAVED, *_SEEDS_DARTS)],
    [
        *(token.encode() for token in _TOKENS_DARTS),
        b'"version": 2', b'"version": []', b'"space": 3', b'"network": []', b'"format": "prejudge genotype"',
    ],
    generate=_genotype_text,
)  # fmt: skip


def _skeletons(text: str) -> None:
    from prejudge.cli.arguments import pairs

    overrides = pairs([text])
    refusals = 0
    for name in ("nasbench201", "nasbench101", "darts"):
        try:
            space(name).macro(**overrides)
        except InputError as error:
            refusals += 1
            last = error
    if refusals == 3:
        raise last


text_target(
    "macro",
    _skeletons,
    ["channels=16,cells=5", "form=zero-cost-nas", "stem=False,channels=3,cells=1", "stem=imagenet,drop_path=0.2"],
    [
        "channels=", "cells=", "stem=", "form=", "num_classes=", "auxiliary=True", "drop_path=", "stacks=", "stages=",
        "name=", "self=", "__class__=", "[1]", *_PYTHON,
    ],
)  # fmt: skip
