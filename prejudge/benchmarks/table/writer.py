"""Writing the compact file of a benchmark table, which :class:`~prejudge.benchmarks.Table` reads.

One HDF5 file, written whole and never changed. ``index`` is a JSON document that says all that opening needs to know;
the arrays beside it are read when they are first asked for. An array is kept as its distinct values and one small
code per entry where that is smaller (accuracies are multiples of 1/images, so it nearly always is): exactly.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.table.index import FORMAT, KEYS, TEXTS, VERSION, TableIndex, read_index
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.per_cent import to_per_cent
from prejudge.benchmarks.table.rows import has_own_order, row_key
from prejudge.errors import InputError
from prejudge.formats import hdf5
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Architecture, EnumerableSpace, Space

_MAX_CODES = 65536


def write_table(
    path: str | os.PathLike[str],
    space: str,
    columns: Mapping[Metric, Any],
    *,
    architectures: Sequence[Architecture | str] | None = None,
    keys: Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
    curves: Mapping[Metric, Any] | None = None,
    per_class: bool = False,
    name: str | None = None,
    aliases: Mapping[str, str] | None = None,
    fractions: bool | None = None,
) -> Path:
    """Write a benchmark table: all of it or nothing.

    Args:
        path: The file to write; an older one is replaced in one step.
        space: Name of the search space.
        columns: Values of each metric, shape ``(rows,)``, NaN where there is none. The same array under two metrics is
            stored once.
        architectures: The architecture (or its text) of each row, in any order. Needed for a space that cannot be
            enumerated at once (``nasbench101``, ``darts``); for the others the rows are all of the space, in its index
            order.
        keys: ``space.canonical`` of each row's architecture, where the caller knows it.
        extra: Other numbers of each architecture, shape ``(rows,)``: ``params``, ``flops``, ``train_seconds`` …
        units: Unit of each quantity (by default per cent for ``"accuracy"``) and of each extra.
        provenance: Where the numbers come from.
        curves: Values after each epoch, shape ``(rows, epochs)``.
        per_class: Whether only ``space.representative`` of each class was trained; other members' rows are NaN.
        name: Name of the table; by default the file's name without its ending.
        aliases: Other names of datasets, to the name that the columns use.
        fractions: Whether accuracies are fractions, which become per cent; if left out they are per cent, and a column
            of which none is above 1 is refused.

    Returns:
        The path written.

    Raises:
        InputError: An array has the wrong shape or impossible values, there is no column, or two rows have the same
            architecture.
        PrejudgeError: The file cannot be written (no space left, read-only folder).
    """
    path = Path(path)
    where = find_space(space)
    if not columns:
        raise InputError(f"a table needs at least one column of numbers; {path} would have none")
    rows = _rows(where, architectures, keys)
    size = len(where) if rows is None else len(rows.order)  # type: ignore[arg-type]
    unit = {"accuracy": "per cent", **(units or {})}
    given: dict[str, tuple[Any, str, tuple[int | None, ...]]] = {
        **{f"columns/{i}": (v, str(m), (size,)) for i, (m, v) in enumerate(columns.items())},
        **{f"extras/{k}": (v, k, (size,)) for k, v in (extra or {}).items()},
        **{f"curves/{i}": (v, f"curve of {m}", (size, None)) for i, (m, v) in enumerate((curves or {}).items())},
    }
    accuracies = {f"columns/{i}" for i, m in enumerate(columns) if m.is_accuracy}
    accuracies |= {f"curves/{i}" for i, m in enumerate(curves or {}) if m.is_accuracy}
    index = TableIndex(
        space=space,
        size=size,
        name=name or path.stem,
        per_class=per_class,
        metrics=tuple(columns),
        curves=tuple(curves or {}),
        extras=tuple(extra or {}),
        units=unit,
        aliases=dict(aliases or {}),
        provenance={str(k): str(v) for k, v in (provenance or {}).items()},
        listed=rows is not None,
    )
    in_per_cent = unit["accuracy"] == "per cent"
    answers = _answers(where) if per_class else None
    digest = hashlib.sha256(index.to_json().encode())
    known = False
    stored: dict[int, str] = {}
    # One array after the other: columns may be made when they are asked for, and all at once may not fit into memory.
    with hdf5.writing(path) as file:
        for key, (values, what, shape) in given.items():
            array = _checked(values, what, shape)
            if key in accuracies and in_per_cent:
                array = to_per_cent(array, what, fractions)
                known = known or bool(np.isfinite(array).any())
            if answers is not None and key.startswith("columns/"):
                _check_only_representatives(what, array, answers)
            array = array if rows is None else array[rows.order]
            _add(digest, key, array)
            if id(values) in stored:
                file[key] = file[stored[id(values)]]  # a hard link
            else:
                stored[id(values)] = key
                _store(file, key, array)
        if accuracies and in_per_cent and not known:
            raise InputError("no column has any value")
        others = {"answers": answers} if answers is not None else {}
        if rows is not None:
            others |= {KEYS: rows.keys, TEXTS: np.frombuffer("\n".join(rows.texts).encode(), dtype=np.uint8)}
        for key, array in others.items():
            _add(digest, key, array)
            _store(file, key, array)
        _describe(file, replace(index, digest=digest.hexdigest()[:16]))
    return path


def extend_table(
    path: Path, out: Path, extra: Mapping[str, Any], *, units: Mapping[str, str], provenance: Mapping[str, str]
) -> Path:
    """Write a table again with more extras; all else stays as it is.

    Args:
        path: The table.
        out: The file to write, which may be the same.
        extra: As for :func:`write_table`, but in the order of the table's rows.
        units: Unit of each extra.
        provenance: Where they come from.

    Returns:
        The path written.

    Raises:
        InputError: An array has the wrong shape or impossible values, or the table has an extra of that name.
        PrejudgeError: The table cannot be read, or the file cannot be written.
    """
    import h5py

    from prejudge.formats.atomic import write_atomically

    index = read_index(path)
    for name in extra:
        if name in index.extras:
            raise InputError(f"table {index.name} has an extra {name!r} already")
    arrays = {f"extras/{k}": _checked(v, k, (index.size,)) for k, v in extra.items()}
    wider = replace(
        index,
        extras=(*index.extras, *extra),
        units=index.units | dict(units),
        provenance=index.provenance | dict(provenance),
    )
    digest = hashlib.sha256(wider.to_json().encode())
    memory = io.BytesIO(path.read_bytes())
    with h5py.File(memory, "r+") as file:
        for key, array in arrays.items():
            _add(digest, key, array)
            _store(file, key, array)
        del file["index"]
        _describe(file, replace(wider, digest=digest.hexdigest()[:16]))
    write_atomically(out, memory.getbuffer())
    return out


@dataclass(frozen=True)
class _Listing:
    """The rows of a table that lists its architectures: ``order`` sorts what was given by key."""

    order: np.ndarray
    keys: np.ndarray
    texts: list[str]


def _rows(
    where: Space[Any], architectures: Sequence[Architecture | str] | None, keys: Sequence[str] | None
) -> _Listing | None:
    if has_own_order(where):
        if architectures is not None:
            raise InputError(f"a table of {where.name} is in the space's index order; leave `architectures` out")
        return None
    if not architectures:
        raise InputError(f"a table of {where.name} needs `architectures`, one for each row")
    listed = architectures
    if keys is None:
        listed = [where.parse(arch) for arch in architectures]
        keys = [where.canonical(arch) for arch in listed]
    if len(keys) != len(architectures):
        raise InputError(f"{len(keys)} keys for {len(architectures)} architectures")
    numbers = np.fromiter(map(row_key, keys), dtype=np.uint64, count=len(keys))
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    twice = np.flatnonzero(numbers[1:] == numbers[:-1])
    if twice.size:
        first, second = (architectures[int(order[twice[0] + i])] for i in (0, 1))
        raise InputError(f"two rows have the same architecture: {first} and {second}")
    return _Listing(order, numbers, [str(listed[int(i)]) for i in order])


def _answers(where: Space[Any]) -> np.ndarray:
    if not (isinstance(where, EnumerableSpace) and has_own_order(where)):
        raise InputError(f"{where.name} has no classes to train one architecture of; leave per_class out")
    return np.array([where.index(where.representative(a)) for a in where], dtype=np.int64)


def _check_only_representatives(what: str, column: np.ndarray, answers: np.ndarray) -> None:
    if np.isfinite(column[answers != np.arange(len(answers))]).any():
        raise InputError(f"{what}: a per-class table may hold values of representatives only; the rest must be NaN")


def _checked(values: Any, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what}: numbers are needed, not {array.dtype}")
    if len(array.shape) != len(shape) or any(s is not None and s != a for s, a in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("epochs" if s is None else str(s) for s in shape)
        raise InputError(f"{what}: shape {array.shape}, but ({wanted}) is needed, in the space's index order")
    array = array.astype(np.float64, copy=False)
    if np.isinf(array).any():
        raise InputError(
            f"{what}: infinite at index {int(np.argmax(np.isinf(array).reshape(len(array), -1).any(axis=1)))}"
        )
    return array


def _describe(file: Any, index: TableIndex) -> None:
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    file.attrs["digest"] = index.digest
    file["index"] = index.to_json()


def _add(digest: hashlib._Hash, key: str, array: np.ndarray) -> None:
    digest.update(key.encode())
    digest.update(np.ascontiguousarray(array).data)


def _store(file: Any, key: str, array: np.ndarray) -> None:
    if array.dtype == np.uint8:  # texts: sorting their bytes would take 32 times their memory for nothing
        _store_array(file, f"{key}/values", array)
        return
    values, codes = np.unique(array, return_inverse=True)
    if len(values) <= _MAX_CODES and len(values) < array.size // 2:
        small = codes.reshape(array.shape).astype(np.uint8 if len(values) <= 256 else np.uint16)
        _store_array(file, f"{key}/codes", small)
        _store_array(file, f"{key}/values", values)
    else:
        _store_array(file, f"{key}/values", array)


def _store_array(file: Any, key: str, array: np.ndarray) -> None:
    # One chunk: arrays are always read whole. The checksum turns a flipped bit into an error instead of an accuracy.
    # Level 9 takes up to 16 times as long as 4 (training times) and saves 2 %.
    file.create_dataset(key, data=array, chunks=array.shape, compression="gzip", compression_opts=4, shuffle=True,
                        fletcher32=True)  # fmt: skip
