"""Targets: CSV files of trained accuracies, and the texts that benchmark tables consist of."""

from __future__ import annotations

import json
import os
import random
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks import Table, benchmark, import_csv
from prejudge.benchmarks.importers.hardware import join_hardware
from prejudge.benchmarks.table.index import TableIndex
from prejudge.benchmarks.table.library import place_for
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.rows import ListedRows, row_key
from prejudge.benchmarks.table.selection import select_metrics
from prejudge.benchmarks.training.table_recipe import DIGITS_RECIPE, TableRecipe
from prejudge.cache import ScoreCache, Shard, import_scores
from prejudge.errors import FileFormatError, InputError
from prejudge.spaces import space
from prejudge.train.recipes.recipe import Recipe
from tests.fuzz.harness import file_target, text_target
from tests.fuzz.mutation import Generator, with_other_values
from tests.fuzz.text_spaces import CELL_101, CELL_201, GENOTYPE, nasbench101

_METRICS = ["cifar10_test_200ep", "cifar10_valid_12ep_seed777", "cifar100_test_200ep_loss", "a_b_1ep", "x_test_0ep"]
_NUMBERS = ["1e308", "-0", "1e-400", "nan", "inf", "-inf", "1_0", "٣", "0x1p3", "101", "-1", "", " 50 ", "1e5", "1,0"]
_COLUMNS = [
    "arch_str",
    "arch",
    "architecture",
    "params_x",
    "mflops_x",
    "flops",
    "cifar10_seconds",
    "n_seeds_x",
    *_METRICS,
]

_CSV = (
    f"arch_str,cifar10_test_200ep,cifar10_valid_200ep_seed777,params,mflops\n{CELL_201},93.5,90.1,100,1.5\n"
    f"{space('nasbench201')[7]},12,,200,2.5\n"  # type: ignore[index]
)


def _csv(rng: random.Random) -> bytes:
    """A table of random columns and cells, with random quoting."""
    columns = [rng.choice(_COLUMNS) for _ in range(rng.randrange(1, 6))]
    lines = [columns]
    for _ in range(rng.randrange(4)):
        numbers = [rng.choice((f"{rng.uniform(0, 100):.3f}", f"{rng.random()}", rng.choice(_NUMBERS))) for _ in columns]
        if rng.random() < 0.8:
            for place, column in enumerate(columns):
                if column.startswith("arch"):
                    numbers[place] = rng.choice((CELL_201, str(rng.randrange(15625)), CELL_201[::-1]))
        lines.append(numbers)
    quote, between = rng.choice(("", '"', "'")), rng.choice((",", ",", ",", ";", "\t"))
    text = rng.choice(("\n", "\r\n", "\r")).join(between.join(f"{quote}{c}{quote}" for c in line) for line in lines)
    return text.encode()


def _import(path: Path) -> None:
    import_csv(path, Path("out.h5"), "nasbench201")


def _import_listed(path: Path) -> None:
    import_csv(path, Path("out.h5"), "darts")


file_target(
    "csv",
    "table.csv",
    _import,
    lambda: [_CSV.encode(), b"\xef\xbb\xbf" + _CSV.encode(), b'arch_str,a_test_1ep\n0,"' + b"9" * 200_000],
    [*(c.encode() for c in [*_COLUMNS, *_NUMBERS, CELL_201]), b",", b'"', b'""', b"\r", b"\x00", b"\x1f\x8b\x08\x00"],
    generate=_csv,
)
file_target(
    "csv-listed",
    "table.csv",
    _import_listed,
    lambda: [f'arch,cifar10_test_600ep\n"{GENOTYPE}",97.1\nDARTS_V1,97\n'.encode(), b"arch,a_test_1ep\nPC_DARTS,1\n"],
    [*(c.encode() for c in [*_COLUMNS, *_NUMBERS, "DARTS_V2", "PDARTS"]), b",", b'"'],
)


@cache
def _digits() -> Table:
    return benchmark("digits")


file_target(
    "csv-hardware",
    "latency.csv",
    lambda path: join_hardware(_digits(), path, Path("joined.h5"), units={}),
    lambda: [f"arch_str,edgegpu_latency,edgegpu_energy\n{CELL_201},1.5,2\n3,4,\n".encode()],
    [b"_latency", b"_energy", b"arithmetic_intensity", *(c.encode() for c in _NUMBERS), b",", b'"'],
)


def _import_scores(path: Path) -> None:
    Path("scores.h5").unlink(missing_ok=True)
    Path("scores.h5.journal").unlink(missing_ok=True)
    with ScoreCache(Path("scores.h5")) as scores:
        import_scores(scores, path, space=space("nasbench201"))


_SUITE_ZERO = {"cifar10": {"(4, 3, 3, 0, 0, 0)": {"synflow": {"score": 46.4, "time": 0.1}, "val_accuracy": 81.9}}}
file_target(
    "scores-json",
    "zc.json",
    _import_scores,
    lambda: [json.dumps(c).encode() for c in (
        _SUITE_ZERO, {"nasbench201": _SUITE_ZERO}, [{"idx": 0, "arch": CELL_201, "snip": {"score": 1, "time": 0}}],
    )],
    [b"Infinity", b"NaN", b"null", b"{}", b"[]", b"score", b"time", b"class_scene", b"nb101", b"(0, 0, 0, 0, 0)"],
)  # fmt: skip
file_target(
    "scores-csv",
    "scores.csv",
    _import_scores,
    lambda: [f"arch_str,synflow,zen,val_accs\n{CELL_201},1e40,inf,3\n7,,nan,\n".encode()],
    [*(c.encode() for c in [*_COLUMNS, *_NUMBERS, CELL_201]), b",", b'"'],
    generate=_csv,
)


def _metric(text: str) -> None:
    metric = Metric.parse(text)
    assert Metric.parse(str(metric)) == metric


text_target("metric", _metric, _METRICS[:4], ["_seed", "ep", "_test_", "_", "-", "9" * 5000, "mean", "²"])
text_target(
    "metric-choice",
    lambda text: select_metrics(_digits(), _digits().metrics(), **_named(text)),
    ["metric=digits_test_7ep", "seed=mean", "dataset=digits,split=test", "epochs=7,seed=0", "seed=²"],
    ["metric=", "seed=", "dataset=", "split=", "epochs=", "quantity=", "digits_test_7ep", "mean", "9" * 5000, "²"],
)


def _named(text: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name in ("dataset", "split", "seed", "quantity"):
            given[name] = value
        elif name == "metric":
            given.setdefault("metric", []).append(value)
        elif name == "epochs" and value.isascii() and value.isdigit() and len(value) < 9:
            given[name] = int(value)
    return given


def _place(text: str) -> None:
    os.environ["XDG_DATA_HOME"] = str(Path.cwd())
    place = place_for(text)
    assert place.parent == Path.cwd() / "prejudge" / "benchmarks", place


text_target(
    "table-place", _place, ["mine", "a.b-c_d", "digits"], ["/", "..", ".h5", "~", "\n", "\x00", "nasbench201-digits"]
)


def _named_table(text: str) -> None:
    os.environ["XDG_DATA_HOME"] = str(Path.cwd())
    benchmark(text)


text_target(
    "table-name",
    _named_table,
    ["digits", "nasbench201-digits", "mine.h5", "x" * 300, "a\x00b", "~nobody/x.h5", "~/x.hdf5"],
    ["/", "..", ".h5", "~", "~root", "\n", "\x00", "digits", "x" * 5000],
)


def _rows(text: str) -> None:
    where = nasbench101()
    texts = sorted((where.cells for where in [where._all]), key=len)[0]
    archs = sorted((where.parse(t) for t in texts), key=where.canonical)
    keys = np.array(sorted(row_key(where.canonical(a)) for a in archs), np.uint64)
    rows = ListedRows(where, keys, lambda: [str(a) for a in archs])
    assert 0 <= rows.index(text) < len(rows)


text_target(
    "table-row", _rows, [CELL_101, "1:", nasbench101().canonical(nasbench101().parse(CELL_101))], ["0", "1.", ":"]
)


def _with_others(plain: dict[str, Any]) -> Generator:
    return lambda rng: json.dumps(with_other_values(plain, rng)).encode()


def _recipe(text: str) -> None:
    plain = _mapping(text)
    found = TableRecipe.from_dict(plain)
    assert TableRecipe.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def _mapping(text: str) -> dict[str, Any]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("no JSON") from None
    if not isinstance(plain, dict):
        raise InputError("no mapping")
    return plain


def _training(text: str) -> None:
    plain = _mapping(text)
    unknown = [name for name in plain if name not in Recipe.__dataclass_fields__]
    if not unknown:
        assert Recipe(**plain) == Recipe(**Recipe(**plain).as_dict())


_VALUES = [
    "null", "true", "-1", "0", "1e999", "NaN", "[]", "[[]]", "{}", '""', '"cosine"', "1.5", "9" * 400,
    '"training": ', '"macro": ', '"epochs": ', '"channels": ', '"noise_std": ', '"valid_copies": ', '"noise_seed": ',
]  # fmt: skip
text_target(
    "table-recipe",
    _recipe,
    [json.dumps(DIGITS_RECIPE.as_dict()), "{}"],
    _VALUES,
    generate=_with_others(DIGITS_RECIPE.as_dict()),
)
text_target(
    "training-recipe",
    _training,
    [json.dumps(Recipe().as_dict()), '{"schedule": "cosine", "ema_decay": 0.5}'],
    _VALUES,
    generate=_with_others(asdict(Recipe())),
)


def _index(text: str) -> None:
    try:
        TableIndex.from_json(text)
    except (KeyError, TypeError, ValueError) as error:  # as its docstring says; its caller names the file
        raise FileFormatError(str(error) or "damaged") from error


text_target(
    "table-index", _index, [_digits().index.to_json()],
    [*_VALUES, '"metrics": ', '"curves": [[]]', '"extras": ', "[" * 5000, '["a", "test", 1, "mean", "accuracy"]'],
    generate=_with_others(json.loads(_digits().index.to_json())),
)  # fmt: skip
text_target("shard", Shard.parse, ["1/2", " 3 / 7 ", "0/0", "2/1"], ["/", "9" * 5000, "²", "٣", "-"])
