"""NAS-Bench-301's training results, one JSON file each (Zela et al., ICLR 2022, arXiv:2008.09777), into a table.

The benchmark's surrogate models are not read: the table holds what was really trained.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.table_import import ImportResult, TableImport, file_sha256
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.rows import RowNumbers
from prejudge.engine import Progress
from prejudge.errors import FileFormatError, InputError, MissingDataError, quoted, unknown
from prejudge.formats.zip import open_zip, read_entry
from prejudge.spaces import Architecture, Space
from prejudge.spaces import space as find_space

DATASET = "cifar10"
SEEDS = 10
"""Trainings of one architecture that have columns of their own."""

UNITS = {
    "accuracy": "per cent",
    "loss": "nats",
    "seconds": "seconds",
    "params": "parameters",
    "n_seeds": "training runs",
}

PROTOCOL = {
    "layers": "NetworkSelectorDatasetInfo:darts:layers",
    "init_channels": "NetworkSelectorDatasetInfo:darts:init_channels",
    "learning_rate": "OptimizerSelector:sgd:learning_rate",
    "weight_decay": "OptimizerSelector:sgd:weight_decay",
}
"""Differences between published results besides the architecture and the epochs, and where a result says them."""

_CONFIG = "optimized_hyperparamater_config"  # sic
_RESULT = re.compile(r"results(_\d+)?\.json")
_PROGRESS_EVERY = 500
_NUMBER = re.compile(r"(\d+)")
_INFO = {
    Metric(DATASET, "train", 1): "train_accuracy",
    Metric(DATASET, "valid", 1): "val_accuracy",
    Metric(DATASET, "train", 1, quantity="loss"): "train_cross_entropy",
    Metric(DATASET, "valid", 1, quantity="loss"): "val_cross_entropy",
}
"""Where the entry ``info`` has the numbers of a metric."""

_MOST_BYTES, _MOST_UNPACKED = 16 << 20, 16 << 30
_MOST_EPOCHS = 10_000
_LARGEST_NUMBER = 1e300
_CURVES = {"train": "Train/train_accuracy", "valid": "Train/val_accuracy", "test": "Train/test_accuracy"}


@dataclass(frozen=True)
class _Result:
    """One training: its metrics (with seed ``"mean"``, since the file names none) and its curves by split."""

    genotype: Architecture
    epochs: int
    protocol: tuple[Any, ...]
    values: Mapping[Metric, float]
    params: float
    curves: Mapping[str, list[float]]


def import_nasbench301(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    protocol: Mapping[str, float] | None = None,
    curves: bool = False,
    fractions: bool | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Read the published result files and write the table file, of space ``darts``.

    Each file is one training. Columns, of dataset ``cifar10`` (40,000 images of the training set to train on, the other
    10,000 for ``valid``) and of as many epochs as the file's budget:

    * ``accuracy`` of ``train`` and ``valid`` after training, with the augmentation of training for ``train``, and of
      ``test``, in per cent as in the file; ``loss`` of ``train`` and ``valid`` (their cross-entropy);
    * ``seconds`` of split ``train``: the file's runtime.

    Where an architecture was trained more than once on the same schedule, its trainings are seeds 0, 1, 2 … in the
    order of the files' names, and ``"mean"`` is the mean of all; the first ten have columns of their own. Extras are
    the published ``params`` and ``n_seeds`` (trainings).

    Args:
        source: The folder (searched with all folders in it for ``results*.json``), a zip file of it, or one such file.
        out: The table file to write; by default one of this name among the user's own benchmarks.
        name: Name of the table, for ``prejudge.benchmark``; by default the file name of ``out``, or ``nasbench301``.
        protocol: Take only results with these entries of :data:`PROTOCOL`, e.g. ``{"layers": 8, "init_channels": 32}``.
            Results of different protocols are never mixed: of what remains the most frequent protocol is imported, if
            at least half of the results have it, and the others are counted in the provenance.
        fractions: Whether accuracies are fractions: as for :func:`~prejudge.benchmarks.import_csv`.
        curves: Whether to keep the learning curves, where the files have them (the mean of an architecture's runs).
        progress: Told (files read, files, seconds) now and then.

    Returns:
        The table file, and whether it was there already, made of the same files.

    Raises:
        MissingDataError: The file or folder does not exist, or holds no result.
        FileFormatError: A file is not a result of NAS-Bench-301; the message names it and what is wrong.
        InputError: The results are of several protocols, none of which has half of them; or the name is unusable.
        PrejudgeError: The table cannot be written.
    """
    path = Path(source)
    for key in protocol or {}:
        if key not in PROTOCOL:
            raise unknown("entry of the protocol", key, PROTOCOL)
    only = json.dumps(dict(protocol or {}), sort_keys=True)
    source_facts = {"source": path.name, "only": only, "curves asked for": curves}
    job = TableImport.begin(out, name, "nasbench301", "darts", source_facts, partial(_sha256, path))
    if existing := job.existing():
        return existing
    found = list(_read(path, protocol or {}, curves, progress))
    results, chosen = _of_one_protocol(path, found)
    numbers = RowNumbers(find_space("darts"))
    rows = np.array([numbers.row(result.genotype) for result in results])
    params = np.full(len(numbers), np.nan)
    params[rows] = [result.params for result in results]
    return job.write(
        _columns(results, rows, len(numbers)),
        architectures=numbers.architectures,
        keys=numbers.keys,
        extra={"params": params, "n_seeds": np.bincount(rows, minlength=len(numbers))},
        units=UNITS,
        fractions=fractions,
        curves=_curves(results, rows, len(numbers)),
        provenance={
            "trainings": len(results),
            "protocol": _described(chosen),
            "trainings left out": f"{len(found) - len(results)} of other protocols",
            "seeds": "0, 1 … in the order of the files' names",
        },
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The names of all result files, in an order in which 2 comes before 10, and what reads one of them."""
    if path.is_dir():
        names = [str(file.relative_to(path)) for file in path.rglob("*.json") if _RESULT.fullmatch(file.name)]
        yield sorted(names, key=_natural), lambda name: _content(path / name)
    elif path.is_file() and zipfile.is_zipfile(path):
        with open_zip(path, most_bytes=_MOST_UNPACKED) as archive:
            names = [name for name in archive.namelist() if _RESULT.fullmatch(name.rpartition("/")[2])]
            large = next((name for name in names if archive.getinfo(name).file_size > _MOST_BYTES), None)
            if large is not None:
                raise _too_large(path / large)
            yield sorted(names, key=_natural), partial(read_entry, archive)
    elif path.is_file():
        yield [path.name], lambda name: _content(path)
    else:
        raise MissingDataError(f"no file or folder {path}")


def _content(path: Path) -> bytes:
    """Content of a result file; broken links, devices and the like are refused."""
    if not path.is_file():
        raise MissingDataError(f"{path} is not a file")
    if path.stat().st_size > _MOST_BYTES:
        raise _too_large(path)
    return path.read_bytes()


def _too_large(path: Path) -> FileFormatError:
    return FileFormatError(f"{path} is larger than the {_MOST_BYTES >> 20} MB that any result takes; leave it out")


def _natural(name: str) -> list[Any]:
    parts = _NUMBER.split(name)  # texts and numbers take turns; a number may have thousands of digits
    return [(len(part.lstrip("0")), part.lstrip("0")) if n % 2 else part for n, part in enumerate(parts)]


def _sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    with _opened(path) as (names, read):
        for name in names:
            content = read(name)
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _read(path: Path, protocol: Mapping[str, float], curves: bool, progress: Progress | None) -> Iterator[_Result]:
    start = time.perf_counter()
    space = find_space("darts")
    with _opened(path) as (names, read):
        if not names:
            raise MissingDataError(f"{path} has no results*.json; give the folder of NAS-Bench-301's result files")
        for done, name in enumerate(names, start=1):
            where = path if name == path.name else path / name
            try:
                content = json.loads(read(name))
                result = _result(space, content, curves)
            except FileFormatError:
                raise
            except (ValueError, RecursionError, OverflowError, TypeError) as error:  # of JSON, of text, and InputError
                raise FileFormatError(f"{where} is not a result of NAS-Bench-301: {error}") from error
            if all(result.protocol[list(PROTOCOL).index(key)] == value for key, value in protocol.items()):
                yield result
            if progress is not None and (done % _PROGRESS_EVERY == 0 or done == len(names)):
                progress(done, len(names), time.perf_counter() - start)


def _result(space: Space[Any], content: Any, curves: bool) -> _Result:
    """One file's training; raises :class:`ValueError`."""
    if not isinstance(content, dict) or not isinstance(content.get(_CONFIG), dict):
        raise ValueError(f"it has no {_CONFIG!r}")
    config, info = content[_CONFIG], content.get("info")
    if not isinstance(info, list) or not info or not isinstance(info[0], dict):
        raise ValueError("it has no 'info'")
    epochs = content.get("budget")
    if isinstance(epochs, bool) or not isinstance(epochs, int | float) or not 1 <= epochs <= _MOST_EPOCHS or epochs % 1:
        raise ValueError(f"its budget is {quoted(epochs)}, not a number of epochs")
    _number(info[0], "val_accuracy", needed=True)
    values = {metric: _number(info[0], key) for metric, key in _INFO.items()}
    values[Metric(DATASET, "test", 1)] = _number(content, "test_accuracy")
    values[Metric(DATASET, "train", 1, quantity="seconds")] = _number(content, "runtime")
    for metric, value in values.items():
        if metric.is_accuracy and not (0 <= value <= 100 or math.isnan(value)):
            raise ValueError(f"its {metric.split} accuracy is {value:g}, not per cent")
    found = content.get("learning_curves") if curves else None
    if found is not None and not isinstance(found, dict):
        raise ValueError("its learning_curves are not a mapping")
    return _Result(
        genotype=space.parse(content),
        epochs=int(epochs),
        protocol=tuple(_setting(config, key) for key in PROTOCOL.values()),
        values={replace(metric, epochs=int(epochs)): value for metric, value in values.items()},
        params=_number(info[0], "model_parameters"),
        curves={s: _curve(found[k], k) for s, k in _CURVES.items() if found.get(k, []) != []} if found else {},
    )


def _setting(config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        raise ValueError(f"its {key} is {quoted(value)}, which is not a number")
    return value


def _curve(values: Any, key: str) -> list[float]:
    if not isinstance(values, list) or len(values) > _MOST_EPOCHS:
        raise ValueError(f"its {key} is not a list of one number per epoch")
    return [math.nan if value is None else _number({key: value}, key) for value in values]


def _number(content: Mapping[str, Any], key: str, *, needed: bool = False) -> float:
    value = content.get(key)
    if value is None and not needed:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST_NUMBER:
        raise ValueError(f"its {key} is {quoted(value)}, which is not a number")
    return float(value)


def _of_one_protocol(path: Path, results: list[_Result]) -> tuple[list[_Result], tuple[Any, ...]]:
    """The results of the most frequent protocol, and what that is."""
    counts = Counter(result.protocol for result in results)
    if not counts:
        raise InputError(f"{path}: no result has this protocol")
    chosen, count = counts.most_common(1)[0]
    if 2 * count < len(results):
        known = "; ".join(f"{_described(p)} ({n} results)" for p, n in counts.most_common(3))
        raise InputError(
            f"{path}: its {len(results)} results are of {len(counts)} protocols, none of which has half of them; say "
            f"which to take, of: {known}"
        )
    return [result for result in results if result.protocol == chosen], chosen


def _described(protocol: tuple[Any, ...]) -> str:
    return ", ".join(f"{key} {value}" for key, value in zip(PROTOCOL, protocol, strict=True))


def _columns(results: list[_Result], rows: np.ndarray, size: int) -> dict[Metric, np.ndarray]:
    """Means of each schedule, then single runs where an architecture has several."""
    earlier: dict[int, Counter[int]] = {}
    sums: dict[Metric, tuple[np.ndarray, np.ndarray]] = {}
    runs: dict[Metric, np.ndarray] = {}
    for result, row in zip(results, rows.tolist(), strict=True):
        seed = earlier.setdefault(result.epochs, Counter())[row]
        earlier[result.epochs][row] += 1
        for metric, value in result.values.items():
            if math.isnan(value):
                continue
            if metric not in sums:
                sums[metric] = np.zeros(size), np.zeros(size)
            sums[metric][0][row] += value
            sums[metric][1][row] += 1
            if seed < SEEDS:
                single = replace(metric, seed=seed)
                if single not in runs:
                    runs[single] = np.full(size, np.nan)
                runs[single][row] = value
    columns = {metric: _mean(*sums[metric]) for metric in sorted(sums, key=_rank)}
    repeated = {epochs for epochs, seen in earlier.items() if max(seen.values()) > 1}
    return columns | {m: runs[m] for m in sorted(runs, key=_rank) if m.epochs in repeated}


def _rank(metric: Metric) -> tuple[Any, ...]:
    return metric.seed, -metric.epochs, not metric.is_accuracy, metric.quantity, metric.split


def _mean(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return result


def _curves(results: list[_Result], rows: np.ndarray, size: int) -> dict[Metric, np.ndarray]:
    """Mean curve of each architecture's runs, NaN behind the end of a shorter one."""
    found: dict[Metric, list[tuple[int, list[float]]]] = {}
    for result, row in zip(results, rows.tolist(), strict=True):
        for split, curve in result.curves.items():
            found.setdefault(Metric(DATASET, split, result.epochs), []).append((row, curve))
    curves = {}
    for metric, runs in found.items():
        length = max(len(curve) for _, curve in runs)
        total, number = np.zeros((size, length)), np.zeros((size, length))
        for row, curve in runs:
            total[row, : len(curve)] += curve
            number[row, : len(curve)] += 1
        curves[metric] = _mean(total, number)
    return curves
