"""The compact file of a benchmark table: what :func:`write_table` writes and :class:`~prejudge.benchmarks.Table` reads.

One HDF5 file, written whole and never changed. ``index`` is a JSON document that says all that opening needs to know;
the arrays beside it are read when they are first asked for. An array is kept as its distinct values and one small
code per entry where that is smaller (accuracies are multiples of 1/images, so it nearly always is): exactly.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.metric import Metric
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.spaces import space as find_space

FORMAT = "prejudge-table"
VERSION = 1
_MAX_CODES = 65536


@dataclass(frozen=True)
class TableIndex:
    """Everything about a table but its arrays.

    Attributes:
        space: Name of the search space; arrays are in its index order.
        size: Architectures of the space.
        name: What the table is called in messages and reports.
        per_class: Whether only one representative of each class of equivalent architectures was trained.
        metrics: The columns, in the order of the file.
        curves: The metrics that have a learning curve (accuracy after each epoch).
        extras: Names of the other arrays (parameters, FLOPs, seconds …).
        units: Unit of the accuracies (key ``"accuracy"``) and of each extra.
        aliases: Other names of datasets, to the name that the columns use.
        provenance: Where the numbers come from.
        digest: SHA-256 prefix of all of the above and of the arrays.
    """

    space: str
    size: int
    name: str
    per_class: bool
    metrics: tuple[Metric, ...]
    curves: tuple[Metric, ...]
    extras: tuple[str, ...]
    units: dict[str, str]
    aliases: dict[str, str]
    provenance: dict[str, str]
    digest: str = ""

    def to_json(self) -> str:
        """The document that the file holds."""
        plain = {k: getattr(self, k) for k in self.__dataclass_fields__}
        for key in ("metrics", "curves"):
            plain[key] = [[m.dataset, m.split, m.epochs, m.seed] for m in plain[key]]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> TableIndex:
        """Read :meth:`to_json`; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        plain = json.loads(text)
        for key in ("metrics", "curves"):
            plain[key] = tuple(Metric(*m) for m in plain[key])
        plain["extras"] = tuple(plain["extras"])
        return cls(**plain)


def write_table(
    path: str | os.PathLike[str],
    space: str,
    columns: Mapping[Metric, Any],
    *,
    extra: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
    curves: Mapping[Metric, Any] | None = None,
    per_class: bool = False,
    name: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Path:
    """Write a benchmark table: all of it or nothing.

    Args:
        path: The file to write; an older one is replaced in one step.
        space: Name of the search space.
        columns: Accuracies in the space's index order, shape ``(len(space),)``, NaN where there is none.
        extra: Other numbers of each architecture, shape ``(len(space),)``: ``params``, ``flops``, ``train_seconds`` …
        units: Unit of the accuracies (key ``"accuracy"``, by default per cent) and of each extra.
        provenance: Where the numbers come from.
        curves: Accuracy after each epoch, shape ``(len(space), epochs)``.
        per_class: Whether only ``space.representative`` of each class was trained; other members' rows are NaN.
        name: What the table is called; by default the file's name without its ending.
        aliases: Other names of datasets, to the name that the columns use.

    Returns:
        The path written.

    Raises:
        InputError: An array has the wrong shape or impossible values, or there is no column.
        PrejudgeError: The file cannot be written (no space left, read-only folder).
    """
    from prejudge.cache.files import write_atomically

    path = Path(path)
    where = find_space(space)
    size = len(where)
    if not columns:
        raise InputError(f"a table needs at least one column of accuracies; {path} would have none")
    unit = dict(units or {})
    unit.setdefault("accuracy", "per cent")
    arrays = {f"columns/{i}": _checked(v, str(m), (size,)) for i, (m, v) in enumerate(columns.items())}
    arrays |= {f"extras/{k}": _checked(v, k, (size,)) for k, v in (extra or {}).items()}
    arrays |= {
        f"curves/{i}": _checked(v, f"curve of {m}", (size, None)) for i, (m, v) in enumerate((curves or {}).items())
    }
    if unit["accuracy"] == "per cent":
        _check_per_cent([a for k, a in arrays.items() if not k.startswith("extras/")])
    if per_class:
        answers = np.array([where.index(where.representative(a)) for a in where], dtype=np.int64)
        others = answers != np.arange(size)
        for i, metric in enumerate(columns):
            if np.isfinite(arrays[f"columns/{i}"][others]).any():
                raise InputError(
                    f"{metric}: a per-class table may hold values of representatives only; the rest must be NaN"
                )
        arrays["answers"] = answers
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
    )
    digest = hashlib.sha256(index.to_json().encode())
    for key, array in arrays.items():
        digest.update(key.encode() + np.ascontiguousarray(array).tobytes())
    index = replace(index, digest=digest.hexdigest()[:16])
    write_atomically(path, _image(index, arrays))
    return path


def read_index(path: Path) -> TableIndex:
    """Read what opening a table needs.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is truncated, no benchmark table, or written by a newer prejudge.
    """
    with _reading(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise FileFormatError(f"{path} is an HDF5 file but no prejudge benchmark table")
        version = int(file.attrs.get("version", 0))
        if version != VERSION:
            raise FileFormatError(
                f"{path} has table format {version}, this prejudge reads format {VERSION}; upgrade prejudge"
            )
        try:
            return TableIndex.from_json(file["index"][()])
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise FileFormatError(f"{path} is damaged: its index cannot be read ({error})") from error


def read_array(path: Path, index: TableIndex, key: str) -> np.ndarray:
    """One array of the table.

    Raises:
        FileFormatError: The array is damaged, or the file is no longer the one that ``index`` was read from.
    """
    with _reading(path) as file:
        try:
            if file.attrs["digest"] != index.digest:
                raise FileFormatError(f"{path} was replaced since it was opened; open it again")
            node = file[key]
            array = np.asarray(node["values"][()][node["codes"][()]] if "codes" in node else node["values"][()])
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            raise FileFormatError(f"{path} is damaged: {key} cannot be read ({str(error).splitlines()[0]})") from error
    if array.shape[:1] != (index.size,):
        raise FileFormatError(f"{path} is damaged: {key} has {array.shape[:1]} rows, not {index.size}")
    return array


def _checked(values: Any, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what}: numbers are needed, not {array.dtype}")
    if len(array.shape) != len(shape) or any(s is not None and s != a for s, a in zip(shape, array.shape, strict=True)):
        wanted = ", ".join("epochs" if s is None else str(s) for s in shape)
        raise InputError(f"{what}: shape {array.shape}, but ({wanted}) is needed, in the space's index order")
    array = array.astype(np.float64)
    if np.isinf(array).any():
        raise InputError(
            f"{what}: infinite at index {int(np.argmax(np.isinf(array).reshape(len(array), -1).any(axis=1)))}"
        )
    return array


def _check_per_cent(arrays: list[np.ndarray]) -> None:
    known = [a[np.isfinite(a)] for a in arrays]
    known = [a for a in known if a.size]
    if not known:
        raise InputError("no column has any value")
    low, high = min(a.min() for a in known), max(a.max() for a in known)
    if low < 0 or high > 100:
        raise InputError(f"accuracies must be per cent, from 0 to 100; these reach from {low:g} to {high:g}")
    if high <= 1:
        raise InputError(f"accuracies must be per cent; the highest of these is {high:g}: multiply fractions by 100")


def _image(index: TableIndex, arrays: Mapping[str, np.ndarray]) -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["digest"] = index.digest
        file["index"] = index.to_json()
        for key, array in arrays.items():
            values, codes = np.unique(array, return_inverse=True)
            if len(values) <= _MAX_CODES and len(values) < array.size // 2:
                small = codes.reshape(array.shape).astype(np.uint8 if len(values) <= 256 else np.uint16)
                _store(file, f"{key}/codes", small)
                _store(file, f"{key}/values", values)
            else:
                _store(file, f"{key}/values", array)
    return memory.getvalue()


def _store(file: Any, key: str, array: np.ndarray) -> None:
    # One chunk: arrays are always read whole. The checksum turns a flipped bit into an error instead of an accuracy.
    file.create_dataset(key, data=array, chunks=array.shape, compression="gzip", compression_opts=9, shuffle=True,
                        fletcher32=True)  # fmt: skip


def _reading(path: Path) -> Any:
    import h5py

    if not path.is_file():
        raise MissingDataError(f"no benchmark table {path}")
    try:
        # Table files are only ever replaced whole: a reader needs no lock, and some network disks have none.
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise PrejudgeError(f"cannot read {path}: permission denied") from error
        raise FileFormatError(f"{path} is no HDF5 file, or it is truncated") from error
