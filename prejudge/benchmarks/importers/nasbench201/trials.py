"""The trainings of NAS-Bench-201's official results, gathered into one array per number, and the columns they make.

The official classes keep dozens of dicts of a number per epoch of each training (``ResultsCount``); a table needs the
last one of each, and the sum of the seconds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from prejudge.benchmarks.table.metric import ACCURACY, Metric, Seed
from prejudge.errors import quoted

VALIDATED = "cifar10-valid"
"""Official name of CIFAR-10 trained on half of its training images, so that the other half is there to validate on."""

SETS: dict[str, dict[str, str]] = {
    "cifar10": {"ori-test": "test"},
    VALIDATED: {"x-valid": "valid", "ori-test": "test"},
    "cifar100": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
    "ImageNet16-120": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
}
"""The official datasets, and of each the official evaluation sets with prejudge's name of the split."""

UNITS = {"accuracy": "per cent", "loss": "nats", "seconds": "seconds"}
_EXTRA_UNITS = {
    "params": "parameters",
    "flops": "multiply-adds",
    "latency": "seconds per batch of 256 images",
    "n_seeds": "training runs",
}
_SPLITS = ("train", "valid", "test", "valtest")
_QUANTITIES = (ACCURACY, "loss", "seconds")
_TRUSTED_SEED = 888
"""Where trainings of one network disagree about its size, nats_bench (since 1.6) believes the one of this seed."""

_MOST_SEEDS, _MOST_LEFT_OUT, _LONGEST_NAME = 16, 64, 100
_FLOAT_ERROR = 8 * np.finfo(np.float64).eps


def table_name(dataset: str) -> str:
    """The name in tables of an official dataset."""
    return dataset.lower()


class MalformedTrial(ValueError):
    """A training that no official program wrote."""


@dataclass
class _Seed:
    """The trainings with one dataset, schedule and seed: an array over all architectures for each number."""

    rows: int
    exists: np.ndarray = field(init=False)
    last: dict[tuple[str, str], np.ndarray] = field(init=False)
    curves: dict[tuple[str, str], np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.exists = np.zeros(self.rows, dtype=bool)
        self.last = defaultdict(lambda: np.full(self.rows, np.nan))
        self.curves = {}

    def put_curve(self, row: int, split: str, quantity: str, values: Sequence[float]) -> None:
        if (split, quantity) not in self.curves:
            self.curves[split, quantity] = np.full((self.rows, len(values)), np.nan)
        self.curves[split, quantity][row] = values


class Trials:
    """All trainings of a benchmark.

    Args:
        rows: Architectures of the space.
        curves: Schedules (their epochs) of which the values after each epoch are kept too.
    """

    def __init__(self, rows: int, curves: Collection[int] = ()) -> None:
        self._rows = rows
        self._with_curves = frozenset(curves)
        self._seeds: dict[tuple[str, int], dict[int, _Seed]] = defaultdict(dict)
        self.left_out: set[str] = set()
        """Official datasets and evaluation sets that the files hold and the table has no name for."""

    def add(self, row: int, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the trainings of one architecture.

        Args:
            row: Its index.
            results: State dicts of the official ``ArchResults``, by the schedule's epochs as text.

        Raises:
            MalformedTrial: They are not.
        """
        for schedule, result in results.items():
            where = f"{schedule} epochs"
            try:
                for dataset, seeds in result["dataset_seed"].items():
                    if dataset not in SETS:
                        self._leave_out(dataset)
                        continue
                    for seed in seeds:
                        where = f"{schedule} epochs on {dataset}, seed {seed}"
                        self._add(row, dataset, int(schedule), seed, result["all_results"][dataset, seed])
            except MalformedTrial as error:
                raise MalformedTrial(f"{where}: {error}") from None
            except KeyError as error:
                raise MalformedTrial(f"{where}: it has no {error}") from error
            except (IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
                raise MalformedTrial(f"{where}: {error}") from error

    def _leave_out(self, name: Any) -> None:
        """Note what the table has no name for; the official files have but a few."""
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or len(self.left_out) >= _MOST_LEFT_OUT:
            raise MalformedTrial(f"it is of a dataset {quoted(name)} that no official file has")
        self.left_out.add(name)

    def _add(self, row: int, dataset: str, epochs: int, seed: int, trial: Mapping[str, Any]) -> None:
        if trial["epochs"] != epochs:
            raise MalformedTrial(f"it was trained for {quoted(trial['epochs'])} epochs")
        seeds = self._seeds[dataset, epochs]
        if type(seed) is not int or seed < 0:
            raise MalformedTrial(f"its seed is {quoted(seed)}, not a number from 0")
        if seed not in seeds:
            if len(seeds) >= _MOST_SEEDS:
                raise MalformedTrial(f"it is one of more than {_MOST_SEEDS} seeds; the official files have five")
            seeds[seed] = _Seed(self._rows)
        here = seeds[seed]
        here.exists[row] = True
        final = epochs - 1
        times = _complete(trial["train_times"], range(epochs))
        here.last["train", ACCURACY][row] = _number(trial["train_acc1es"][final])
        here.last["train", "loss"][row] = _number(trial["train_losses"][final])
        here.last["train", "seconds"][row] = sum(times) if times else math.nan
        for name in trial["eval_names"]:
            split = SETS[dataset].get(name)
            if split is None:
                self._leave_out(f"{dataset} {name}")
                continue
            keys = _epoch_keys(name, epochs)
            evaluations = _complete(trial["eval_times"], keys)
            here.last[split, ACCURACY][row] = _number(trial["eval_acc1es"].get(keys[final]))
            here.last[split, "loss"][row] = _number(trial["eval_losses"].get(keys[final]))
            here.last[split, "seconds"][row] = sum(evaluations) / epochs if evaluations else math.nan
        latencies = trial["latency"]
        latency = sum(latencies) / len(latencies) if latencies is not None else math.nan
        here.last["", "latency"][row] = latency if latency > 0 else math.nan  # -1 says that it was not measured
        here.last["", "params"][row] = _number(trial["params"])
        here.last["", "flops"][row] = _number(trial["flop"])
        if epochs in self._with_curves:
            self._add_curves(here, row, dataset, epochs, trial, times)

    def _add_curves(
        self, here: _Seed, row: int, dataset: str, epochs: int, trial: Mapping[str, Any], times: Sequence[float] | None
    ) -> None:
        found = {
            ("train", ACCURACY): _complete(trial["train_acc1es"], range(epochs)),
            ("train", "loss"): _complete(trial["train_losses"], range(epochs)),
            ("train", "seconds"): np.cumsum(times).tolist() if times else None,
        }
        for name, split in SETS[dataset].items():  # some trainings were evaluated on a set after the last epoch only
            keys = _epoch_keys(name, epochs)
            found[split, ACCURACY] = _complete(trial["eval_acc1es"], keys)
            found[split, "loss"] = _complete(trial["eval_losses"], keys)
        for (part, quantity), values in found.items():
            if values:
                here.put_curve(row, part, quantity, values)

    def columns(self) -> dict[Metric, np.ndarray]:
        """Every column that has a value, shape ``(rows,)`` each.

        ``seconds`` of split ``train`` are those of the whole training; of another split those of one evaluation.
        """
        found: dict[Metric, np.ndarray] = {}
        for dataset, epochs, seed, runs in self._groups():
            for split in _SPLITS:
                for quantity in _QUANTITIES:
                    column = _of(runs, [r.last.get((split, quantity)) for r in runs])
                    if column is not None:
                        found |= _named(dataset, split, epochs, seed, quantity, column)
        return found

    def curves(self) -> dict[Metric, np.ndarray]:
        """Every learning curve that has a value, shape ``(rows, epochs)`` each; ``seconds`` are those until then."""
        found: dict[Metric, np.ndarray] = {}
        for dataset, epochs, seed, runs in self._groups():
            for split in _SPLITS:
                for quantity in _QUANTITIES:
                    column = _of(runs, [r.curves.get((split, quantity)) for r in runs])
                    if column is not None:
                        found |= _named(dataset, split, epochs, seed, quantity, column)
        return found

    def extras(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays that belong to no split, shape ``(rows,)`` each, and their units.

        ``params_{dataset}`` and ``flops_{dataset}``; ``latency_{epochs}ep_{dataset}``, then ``_seed{seed}`` for one
        training's; and ``n_seeds_{epochs}ep_{dataset}``, how many trainings there are.
        """
        found: dict[str, np.ndarray] = {}
        for quantity in ("params", "flops"):
            for dataset in SETS:
                # The long trainings first: theirs is the trusted seed.
                for epochs in sorted((e for d, e in self._seeds if d == dataset), reverse=True):
                    name = f"{quantity}_{table_name(dataset)}"
                    counts = _counts(
                        {seed: run.last["", quantity] for seed, run in self._seeds[dataset, epochs].items()}
                    )
                    found[name] = np.where(np.isnan(found[name]), counts, found[name]) if name in found else counts
        for dataset, epochs, seed, runs in self._groups():
            name = f"{epochs}ep_{table_name(dataset)}"
            if seed == "mean":
                found[f"n_seeds_{name}"] = np.sum([r.exists for r in runs], axis=0).astype(np.float64)
                found[f"latency_{name}"] = _mean(
                    [(r.last["", "latency"], ~np.isnan(r.last["", "latency"])) for r in runs]
                )
            else:
                found[f"latency_{name}_seed{seed}"] = runs[0].last["", "latency"]
        found = {name: array for name, array in found.items() if not np.isnan(array).all()}
        return found, {n: next(u for p, u in _EXTRA_UNITS.items() if n.startswith(p)) for n in found}

    def _groups(self) -> Iterator[tuple[str, int, Seed, list[_Seed]]]:
        """(dataset, epochs, seed, its trainings): for the mean all of them in the order of their seeds."""
        for dataset in SETS:
            for epochs in sorted(e for d, e in self._seeds if d == dataset):
                seeds = self._seeds[dataset, epochs]
                yield dataset, epochs, "mean", [seeds[s] for s in sorted(seeds)]
                for seed in sorted(seeds):
                    yield dataset, epochs, seed, [seeds[seed]]


@lru_cache(maxsize=64)
def _epoch_keys(name: str, epochs: int) -> tuple[str, ...]:
    """The official keys of an evaluation set's values after each epoch."""
    return tuple(f"{name}@{e}" for e in range(epochs))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _complete(values: Mapping[Any, float] | None, keys: Collection[Any]) -> list[float] | None:
    """The value of each key, or None unless all of them are there."""
    if not values:
        return None
    try:
        return [values[k] for k in keys]
    except KeyError:
        return None


def _of(runs: Sequence[_Seed], arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The mean over trainings, or the one training's own array; None where it has no value."""
    known = [a for a in arrays if a is not None]
    if not known:
        return None
    missing = np.full_like(known[0], np.nan)
    filled = [missing if a is None else a for a in arrays]
    column = filled[0] if len(runs) == 1 else _mean([(a, r.exists) for a, r in zip(filled, runs, strict=True)])
    return None if np.isnan(column).all() else column


def _mean(arrays: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean over the arrays that exist at a row: NaN where there is none, or where one of them is NaN.

    The official packages add in the order of the seeds, too, and have no mean where a training lacks the number.
    """
    total = np.zeros_like(arrays[0][0])
    count = np.zeros(len(total))
    for array, exists in arrays:
        total[exists] += array[exists]
        count += exists
    count[count == 0] = np.nan
    total /= count.reshape(-1, *(1,) * (total.ndim - 1))
    return total


def _counts(millions: Mapping[int, np.ndarray]) -> np.ndarray:
    """Whole numbers from the official millions, by seed; where seeds disagree that of the trusted one, or NaN."""
    values = np.stack([millions[seed] for seed in sorted(millions)])
    rounded = values.round(5)
    similar = np.fmin.reduce(rounded) == np.fmax.reduce(rounded)
    mean = _mean([(v, ~np.isnan(v)) for v in values])
    trusted = millions.get(_TRUSTED_SEED, np.full(values.shape[1], np.nan))
    exact = np.where(similar, mean, trusted) * 1e6
    whole = np.rint(exact)
    return np.where(np.abs(exact - whole) <= _FLOAT_ERROR * np.abs(exact), whole, exact)


def _named(
    dataset: str, split: str, epochs: int, seed: Seed, quantity: str, column: np.ndarray
) -> dict[Metric, np.ndarray]:
    """The column under its metric, and under a second one where CIFAR-10's validation accuracy is looked for."""
    metric = Metric(table_name(dataset), split, epochs, seed, quantity)
    found = {metric: column}
    if dataset == VALIDATED and split == "valid":
        found[Metric("cifar10", split, epochs, seed, quantity)] = column
    return found
