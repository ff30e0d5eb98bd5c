"""Targets: the three kinds of HDF5 files that prejudge writes and reads, and the check of any in another process."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from prejudge import Score, ScoreCache
from prejudge.benchmarks import Metric
from prejudge.benchmarks.table.table import open_table, write_table
from prejudge.cache import Protocol
from prejudge.cache.layout import decode, stored_digests
from prejudge.formats.hdf5 import read_everything
from prejudge.search import SearchResult, Trajectory, read_result, write_result
from prejudge.spaces import space
from tests.fuzz.harness import file_target

_ODD_NUMBERS = (0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**64, -(2**63), 10**40, 1e308, 0.5)
_ODD_VALUES = (*_ODD_NUMBERS, None, True, "", "x", "\0", "a\nb", "\ud800", [], {}, [[]], {"": {}}, float("nan"))
_TYPES = ("f8", "f4", "f2", ">f8", "i8", "u8", "i4", "u1", "i1", "?", "S1", "S300", "c16", "V5", "f8,i4", "(3,)f8")
_READ_WRITE = 1  # H5LT_FILE_IMAGE_OPEN_RW, which h5py has no name for
_HUGE = ((2**40,), (2**31, 2**31), (2**20, 2**20), (1, 2**40), (2**62,), (0, 2**40), (2**33, 0))


def _made(write: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.h5"
        write(path)
        return path.read_bytes()


def _cache(path: Path) -> None:
    protocol = Protocol("nasbench201", macro={"channels": 16}, data="digits", mean=(0.5,), std=(0.2,))
    with ScoreCache(path) as cache:
        run = cache.begin_run({"torch": "2"})
        for i in range(12):
            bad = Score.failed("no path", 0.5) if i % 5 == 4 else Score(float(i), seconds=0.25)
            cache.put(protocol, f"arch {i}", {"snip": bad, "zen(images=32)": float(i)}, repeat=i % 2, run=run)
        cache.put(Protocol("nasbench201", seed=1), "other", {"snip": 1.0})


def _table(path: Path) -> None:
    rng = np.random.default_rng(0)
    where = space("darts")
    archs = [where.sample(rng) for _ in range(8)]
    values = np.round(rng.uniform(80, 95, 8), 1)
    write_table(
        path, "darts", {Metric("cifar10", "test", 100): values, Metric("cifar10", "valid", 100): values},
        architectures=archs, extra={"params": rng.integers(1, 9, 8) * 1e6}, provenance={"source": "made"},
        curves={Metric("cifar10", "test", 100): rng.uniform(80, 90, (8, 5))}, aliases={"c10": "cifar10"},
    )  # fmt: skip


def _result(path: Path) -> None:
    runs = [
        Trajectory(
            s, "b", ["a", "b", "a"], np.array([0, 0, 1], np.int32), np.array([1.0, 2.0, np.nan]), np.ones(3), 0.5
        )
        for s in range(2)
    ]
    write_result(SearchResult("random", {"steps": 3}, "nasbench201", {"kind": "table"}, {"steps": 3}, runs), path)


def _opened(image: bytes) -> h5py.File:
    return h5py.File(h5py.h5f.open_file_image(image, flags=_READ_WRITE))


def _broken(base: Callable[[], bytes], rng: random.Random) -> bytes:
    with _opened(base()) as file:
        for number in range(rng.choice((1, 1, 1, 2, 4))):
            change = rng.choice(_CHANGES)
            if change is _index and number:
                continue  # it reads what others may have broken, and would crash here instead of in the reader
            try:
                change(file, rng)
            except (
                LookupError,
                ValueError,
                TypeError,
                RuntimeError,
                OSError,
                OverflowError,
                AttributeError,
                MemoryError,
            ):
                continue  # it cannot be done twice
        file.flush()
        return file.id.get_file_image()


def _somewhere(file: h5py.File, rng: random.Random) -> tuple[h5py.Group, str]:
    """A member at random, as its group and its name."""
    group: h5py.Group = file["/"]
    while True:
        name = rng.choice(list(group))
        found = group.get(name)
        if not isinstance(found, h5py.Group) or not len(found) or rng.random() < 0.15:
            return group, name
        group = found


def _delete(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    del group[name]


def _other_array(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    old = group[name]
    shape = old.shape if isinstance(old, h5py.Dataset) else (3,)
    rows = rng.choice((0, 1, 2, 8, 12, 1000))
    shape = rng.choice((shape, (), (rows,), (*shape, 1), (*shape, rows), (rows, *shape)))
    dtype = np.dtype(rng.choice(_TYPES))
    odd = (h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype, h5py.regionref_dtype,
           h5py.enum_dtype({"A": 1, "B": 2}), h5py.string_dtype("ascii", 9))  # fmt: skip
    kind = rng.choice((dtype, dtype, *odd))
    del group[name]
    made = group.create_dataset(name, shape, kind, **_storing(rng, shape))
    if isinstance(kind, np.dtype) and kind.kind in "iuf" and made.size and rng.random() < 0.7:
        made[...] = rng.choice((0, 1, 2, -1, 1e300, np.nan)) if kind.kind == "f" else rng.choice((0, 1, 2, 3, 100))


def _storing(rng: random.Random, shape: tuple[int, ...]) -> dict[str, Any]:
    if not shape or 0 in shape or rng.random() < 0.4:
        return {}
    how: dict[str, Any] = {"chunks": tuple(max(1, n // rng.choice((1, 2))) for n in shape)}
    if rng.random() < 0.3:
        how |= {"chunks": tuple(rng.choice((n, 2**10)) for n in shape), "maxshape": (None,) * len(shape)}
    if rng.random() < 0.6:
        how["compression"] = rng.choice(("gzip", "lzf"))
    for name in ("shuffle", "fletcher32", "scaleoffset"):
        if rng.random() < 0.3:
            how[name] = 0 if name == "scaleoffset" else True
    return how


def _huge_array(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    del group[name]
    shape = rng.choice(_HUGE)
    how = {"chunks": tuple(max(1, min(n, rng.choice((1, 2**10, 2**14)))) for n in shape)} if rng.random() < 0.7 else {}
    group.create_dataset(name, shape, np.dtype(rng.choice(("f8", "u1", "S1000", "i4"))), **how)


def _link(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    del group[name]
    group[name] = rng.choice((
        h5py.SoftLink(f"{group.name}/{name}"), h5py.SoftLink("/"), h5py.SoftLink("/index"), h5py.SoftLink("nowhere"),
        h5py.ExternalLink("other.h5", "/index"), h5py.ExternalLink("/dev/zero", "/"), file["/"],
        h5py.ExternalLink("/proc/self/mem", "/"), group,
    ))  # fmt: skip


def _outside(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    old = group[name]
    shape = old.shape if isinstance(old, h5py.Dataset) and old.shape else (40,)
    dtype = old.dtype if isinstance(old, h5py.Dataset) and old.dtype.kind in "iufS" else np.dtype("u1")
    del group[name]
    if rng.random() < 0.5:
        source = rng.choice(("/etc/passwd", "/dev/zero", "outside.bin"))
        group.create_dataset(name, shape, dtype, external=[(source, 0, h5py.h5f.UNLIMITED)])
        return
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(rng.choice((".", "other.h5", "/dev/zero")), "index", shape)
    group.create_virtual_dataset(name, layout)


def _attribute(file: h5py.File, rng: random.Random) -> None:
    group, name = _somewhere(file, rng)
    node = rng.choice((file["/"], group, group[name], group.parent))
    key = rng.choice(list(node.attrs) or ["format"])
    if rng.random() < 0.3:
        del node.attrs[key]
        return
    value: Any = rng.choice((
        *(n for n in _ODD_NUMBERS if abs(n) < 2**63), "", "x", "x" * 3000, "NaN", b"\xff", "prejudge scores", "[]",
        np.zeros(3), np.zeros(4000), np.array(["a", "b"], dtype="S1"), h5py.Empty("f8"), node.ref,
        np.zeros((2, 2), "?"), np.array(["a" * 500] * 40, dtype=h5py.string_dtype()),
    ))  # fmt: skip
    old = node.attrs.get(key)
    if isinstance(old, str) and old.startswith("{") and rng.random() < 0.7:
        value = _other_json(old, rng)
    node.attrs[key] = value


def _index(file: h5py.File, rng: random.Random) -> None:
    if "index" in file:
        text = file["index"][()].decode()
        del file["index"]
        file["index"] = _other_json(text, rng)
    elif "runs" in file:
        del file["runs"]
        file["runs"] = np.array([json.dumps(rng.choice(_ODD_VALUES)).encode() for _ in range(2)], "S90")


def _other_json(text: str, rng: random.Random) -> str:
    """The text with one value of it changed."""
    if rng.random() < 0.1:
        return rng.choice(("[" * 20_000, '{"a":' * 20_000, text[: len(text) // 2], "[]", "1" * 5000, "null", text * 2))
    whole = [json.loads(text)]
    at: Any = whole
    key: Any = 0
    while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.9:
        at = at[key]
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
    if isinstance(at, dict) and rng.random() < 0.2:
        del at[key]
    elif rng.random() < 0.1 and isinstance(at, list):
        at.append(at[key])
    else:
        at[key] = rng.choice(_ODD_VALUES)
    return json.dumps(whole[0] if whole else None).replace("\\ud800", "\\\\ud800")


def _values(file: h5py.File, rng: random.Random) -> None:
    """Numbers that point elsewhere: codes, rows of failures, positions."""
    arrays: list[h5py.Dataset] = []
    file.visititems(lambda _, node: arrays.append(node) if isinstance(node, h5py.Dataset) else None)
    plain = [a for a in arrays if a.dtype.kind in "iuf" and not (a.is_virtual or a.external)]
    chosen = rng.choice([a for a in plain if a.shape and 0 < a.size < 10**5])
    values = chosen[...]
    place = rng.randrange(values.size)
    limits = np.iinfo(values.dtype) if values.dtype.kind in "iu" else np.finfo(values.dtype)
    values.flat[place] = rng.choice((limits.max, limits.min, 0, 1, 7, 100))
    chosen[...] = values


_CHANGES = (_delete, _other_array, _other_array, _huge_array, _link, _outside, _attribute, _attribute, _index, _values,
            _values)  # fmt: skip


def _read_cache(path: Path) -> None:
    stored_digests(path)
    contents = decode(path)
    cache = ScoreCache(path, "r")
    cache.info()
    for digest in contents.protocols:
        cache.frame(digest)
        cache.failures(digest)


def _read_table(path: Path) -> None:
    table = open_table(path)
    table.info()
    for curve in table.index.curves:
        table.curve(str(table.architectures[0]), curve)
    for extra in table.extras:
        table.extra(extra)
    _ = table.architectures[0], table.answering


def _read_result(path: Path) -> None:
    result = read_result(path)
    assert result.best == result.best_run.recommendation
    result.run(result.trajectories[0].seed)


def _target(name: str, write: Callable[[Path], Any], read: Callable[[Path], Any]) -> None:
    base = cache(partial(_made, write))
    generate = partial(_broken, base)
    file_target(
        name, "f.h5", read, lambda: [base()],
        (b"\x89HDF\r\n\x1a\n", b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"BTHD", b"\xff" * 8,
         b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\0\0\0\x80"),
        generate=lambda rng: generate(rng=rng), seconds=4.0,
    )  # fmt: skip


os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
_target("hdf5-scores", _cache, _read_cache)
_target("hdf5-table", _table, _read_table)
_target("hdf5-result", _result, _read_result)
_target("hdf5-everything", _cache, read_everything)
