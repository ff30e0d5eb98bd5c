"""Simulated cost of a search: trainings are looked up in a table, and their seconds added up."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from prejudge.benchmarks.table.metric import Metric, Seed
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Architecture

_TRAIN_SECONDS = re.compile(r"^(?:(?P<dataset>.+)_)?train_seconds(?:_(?P<epochs>\d+)ep)?$")
_NO_EVALUATION = "the table has no evaluation times; simulated costs cover training only"
_STOPPED = "a training that stops early is taken to cost its share of the epochs"


class CostWarning(UserWarning):
    """The simulated seconds are not those of training and evaluation as measured; said once per simulation."""


@dataclass(frozen=True, slots=True)
class SimulatedResult:
    """One training that was looked up.

    Attributes:
        accuracy: Accuracy on the split, in the table's unit (per cent).
        latency: Seconds of the network for one batch, where the table knows it.
        seconds: Training, and one evaluation on the split where the table knows its seconds.
    """

    accuracy: float
    latency: float | None
    seconds: float


class SimulatedTraining:
    """Trains architectures by looking them up: the accounting of the official ``simulate_train_eval``.

    The accuracy is that on the validation images, and the cost that of the whole training plus one evaluation on them.
    CIFAR-10 of NAS-Bench-201 is trained on half of its training images and validated on the other half (official
    ``cifar10-valid``). Where a table has only training seconds of another schedule they count in proportion, and where
    it has none of the evaluation that counts as 0; :attr:`note` and a :class:`CostWarning` say so.

    Args:
        table: The table.
        dataset: Name of the dataset.
        epochs: Length of the training schedule.
        seed: A training run's seed; ``"mean"`` over all; or ``"random"``: each call draws one of the architecture's
            runs, as the official packages do.
        rng: Draws the runs; by default one seeded by the system.
        split: The images that the accuracy is measured on.

    Attributes:
        total_seconds: What all calls since the last :meth:`reset` cost.
        note: What the cost leaves out or estimates; empty if nothing.
        stops: The epochs of the schedule after which a training can be stopped; empty without learning curves.

    Raises:
        InputError: The table has no such accuracy, no such seed, or nothing about seconds; the message names
            what it has.

    Example:
        >>> simulated = SimulatedTraining(prejudge.benchmark("nasbench201"), "cifar10", epochs=12)
        >>> simulated(arch).accuracy, simulated.total_seconds
    """

    def __init__(
        self,
        table: Table,
        dataset: str = "cifar10",
        epochs: int = 12,
        seed: Seed | Literal["random"] = "mean",
        rng: np.random.Generator | None = None,
        *,
        split: str = "valid",
    ) -> None:
        self.table = table
        self.dataset = dataset
        self.epochs = epochs
        self.seed = seed
        self.total_seconds = 0.0
        self._random = (rng if rng is not None else np.random.default_rng()).random
        self._results: dict[Any, tuple[SimulatedResult, ...]] = {}
        self._metrics = _runs(table, dataset, split, epochs, seed)
        costs, self.note = _costs(table, self._metrics)
        self._arrays = [(table.column(m), *c) for m, c in zip(self._metrics, costs, strict=True)]
        self._latency = _latency(table, self._metrics[0])
        self.stops = tuple(range(1, epochs + 1)) if all(map(self._has_curves, self._metrics)) else ()
        if self.stops and not all(_training(table, m) in table.index.curves for m in self._metrics):
            self.note += f"{'; ' if self.note else ''}{_STOPPED}"
        if self.note:
            warnings.warn(f"table {table.name}: {self.note}", CostWarning, stacklevel=2)

    def __call__(self, arch: Architecture, *, after: int | None = None, account: bool = True) -> SimulatedResult:
        """Train ``arch``.

        Args:
            arch: An architecture, its text, or its index.
            after: Stop after so many epochs of the schedule (official ``iepoch`` + 1), whose learning rate is then not
                yet 0; the table needs learning curves. Where a run was evaluated on the validation images after the
                last epoch only, its accuracy is that on validation and test images together (``valtest``), as in
                nats_bench.
            account: Whether its cost counts.

        Raises:
            InputError: The architecture is malformed, was not trained, or its cost is unknown.
        """
        results = self.results(arch, after)
        result = results[0] if len(results) == 1 else results[int(self._random() * len(results))]
        if account:
            self.total_seconds += result.seconds
        return result

    def results(self, arch: Architecture, after: int | None = None) -> tuple[SimulatedResult, ...]:
        """The possible results of a call: one result, or with seed ``"random"`` that of each run; none is counted.

        Args:
            arch: As for a call.
            after: As for a call.

        Raises:
            InputError: As for a call.
        """
        try:
            return self._results[arch, after]
        except (KeyError, TypeError):
            return self._look_up(arch, after)

    def reset(self) -> None:
        """Start to count anew."""
        self.total_seconds = 0.0

    def _has_curves(self, metric: Metric) -> bool:
        return any(m in self.table.index.curves for m in _while_training(metric))

    def _look_up(self, arch: Any, after: int | None) -> tuple[SimulatedResult, ...]:
        row = self._row(arch)
        known = [i for i, arrays in enumerate(self._arrays) if not np.isnan(arrays[0][row])]
        if not known:
            self.table.query(arch, self._metrics[0])  # says that it has none
        latency = None if self._latency is None or np.isnan(self._latency[row]) else self._latency.item(row)
        pairs = [self._stopped(i, row, after) for i in known]
        results = tuple(SimulatedResult(accuracy, latency, seconds) for accuracy, seconds in pairs)
        if any(r.seconds != r.seconds for r in results):
            raise InputError(
                f"table {self.table.name} has no seconds of training {arch} for {self.epochs} epochs on {self.dataset}"
            )
        if not isinstance(arch, list | dict | np.ndarray):
            self._results[arch, after] = results
        return results

    def _stopped(self, run: int, row: int, after: int | None) -> tuple[float, float]:
        """Accuracy and cost of a run."""
        accuracy, training, evaluation = (array.item(row) for array in self._arrays[run])
        if after is None or after == self.epochs:
            return accuracy, training + evaluation
        if not 1 <= after < self.epochs:
            raise InputError(f"a schedule of {self.epochs} epochs cannot stop after {after!r}")
        metric, table = self._metrics[run], self.table
        architecture = table.architectures[row]
        seconds = _training(table, metric)
        if seconds in table.index.curves:
            spent = table.curve(architecture, seconds).item(after - 1)
        else:
            spent = training * after / self.epochs
        curves = (table.curve(architecture, m) for m in _while_training(metric) if m in table.index.curves)
        accuracy = next((c.item(after - 1) for c in curves if not np.isnan(c[after - 1])), math.nan)
        if math.isnan(accuracy):
            table.metric(metric, table.index.curves)  # says that there is no learning curve
            raise InputError(f"table {table.name} has no accuracy of {architecture} after {after} epochs")
        return accuracy, spent + evaluation

    def _row(self, arch: Any) -> int:
        table = self.table
        row = table.architectures.index(arch if table.index.listed else find_space(table.space).parse(arch))
        if not table.per_class:
            return row
        table.query_many(np.array([row]), self._metrics[0])  # says once that a representative answers
        return int(table.answering[row])


def _runs(table: Table, dataset: str, split: str, epochs: int, seed: Seed | Literal["random"]) -> list[Metric]:
    """The accuracy: of the one run that was asked for, or of all that may be drawn."""
    asked = {"dataset": dataset, "split": split, "epochs": epochs}
    if seed != "random":
        return [table.metric(tuple((asked | {"seed": seed}).items()))]
    name = table.index.aliases.get(dataset, dataset)
    runs = [m for m in table.metrics() if m == Metric(name, split, epochs, m.seed) and m.seed != "mean"]
    if not runs:
        metric = table.metric(tuple(asked.items()))
        raise InputError(f"table {table.name} has {metric} but no single runs of it to draw from; use seed='mean'")
    return runs


def _trained_on(table: Table, metric: Metric) -> str:
    """The name under which the table has the training that the accuracy is of."""
    validated = f"{metric.dataset}-valid"
    known = metric.split == "valid" and any(m.dataset == validated for m in table.index.metrics)
    return validated if known else metric.dataset


def _training(table: Table, metric: Metric) -> Metric:
    """The seconds of the training that the accuracy is of."""
    return replace(metric, dataset=_trained_on(table, metric), split="train", quantity="seconds")


def _while_training(metric: Metric) -> tuple[Metric, ...]:
    """The accuracies, the best first, that stand for this one before the training has ended."""
    return (metric, replace(metric, split="valtest")) if metric.split == "valid" else (metric,)


def _costs(table: Table, runs: list[Metric]) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """Seconds of training and of an evaluation of each run by row, and what is to be said about them."""
    training = [_training(table, m) for m in runs]
    evaluation = [replace(t, split=m.split) for t, m in zip(training, runs, strict=True)]
    if not set(training) <= set(table.index.metrics):
        seconds, note = _extra_seconds(table, runs[0])
        return [(seconds, np.zeros_like(seconds))] * len(runs), note
    if not set(evaluation) <= set(table.index.metrics):
        return [(s, np.zeros_like(s)) for s in map(table.column, training)], _NO_EVALUATION
    return [(table.column(t), table.column(e)) for t, e in zip(training, evaluation, strict=True)], ""


def _extra_seconds(table: Table, metric: Metric) -> tuple[np.ndarray, str]:
    """Training seconds of a table that has them as an extra: of this schedule, or of the longest in proportion."""
    dataset, epochs = metric.dataset, metric.epochs
    schedules = {m.epochs for m in table.metrics()}
    halves: tuple[str | None, ...] = (f"{dataset}-valid", f"{dataset}valid")  # trained on half of the images
    names = (*halves, dataset, None) if metric.split == "valid" else (dataset, None, *halves)
    found: list[tuple[bool, int, int, str]] = []
    for name in table.extras:
        match = _TRAIN_SECONDS.match(name)
        if match and match["dataset"] in names and (match["epochs"] or len(schedules) == 1):
            known = int(match["epochs"] or min(schedules))
            found.append((known != epochs, -known, names.index(match["dataset"]), name))
    if not found:
        has = [n for n in table.extras if "seconds" in n] + [str(m) for m in table.metrics() if "seconds" in m.quantity]
        raise InputError(
            f"table {table.name} has no seconds of training {epochs} epochs on {dataset}, so no cost can be simulated "
            f"(it has {', '.join(has) or 'no seconds of anything'})"
        )
    _, longest, place, name = min(found)
    note, seconds = _NO_EVALUATION, table.extra(name)
    if -longest != epochs:
        note += f", and {epochs} epochs are taken to cost {epochs}/{-longest} of {-longest} epochs"
        seconds = seconds * epochs / -longest
    if metric.split != "valid" and names[place] in halves:
        note += f", as on {names[place]}, which has fewer images"
    return seconds, note


def _latency(table: Table, metric: Metric) -> np.ndarray | None:
    """Seconds of a batch by row, where the table has them."""
    names = (f"latency_{metric.epochs}ep_{metric.dataset}", f"latency_{metric.dataset}", "latency")
    return next((table.extra(name) for name in names if name in table.extras), None)
