"""A benchmark table as an objective: what is maximized is a trained accuracy, and asking costs simulated seconds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from prejudge.benchmarks.simulation import CostWarning, SimulatedTraining
from prejudge.benchmarks.table.metric import Seed
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError
from prejudge.search.objectives.base import Evaluation, Objective
from prejudge.spaces import space as find_space
from prejudge.spaces.base import Architecture

if TYPE_CHECKING:
    import numpy as np


_PUBLISHED_SECONDS = 12_000.0
"""Budget of a search in NAS-Bench-201's paper."""

USUAL_TRAININGS = 200
"""Trainings for which the usual budget suffices, where they are cheap."""

_SAMPLED = 200
"""Architectures from whose cost that of a training is estimated."""


class TableObjective(Objective):
    """Accuracy that a table has, at the cost that training would have had.

    Args:
        table: The table.
        dataset: Name of the dataset.
        epochs: Length of the training schedule. Shorter ones can be chosen, too: each epoch of it where the table has
            learning curves, else the other schedules that it was trained on, each a training of its own.
        split: Whose accuracy is maximized: ``"valid"``, or ``"test"`` where a table has no other.
        seed: A training run's seed; ``"mean"``; or ``"random"``: every question draws one of the runs.

    Attributes:
        note: What the simulated cost leaves out or estimates; empty if nothing.

    Raises:
        InputError: The table lacks the metric, or any cost; the message names what it has.
    """

    live = False

    def __init__(
        self,
        table: Table,
        dataset: str,
        epochs: int,
        *,
        split: str = "valid",
        seed: Seed | Literal["random"] = "mean",
    ) -> None:
        self.space = find_space(table.space)
        self._simulated = _simulated(table, dataset, epochs, seed, split)
        self._shorter: dict[int, SimulatedTraining] = {}
        if not self._simulated.stops:
            self._shorter = _other_schedules(table, dataset, epochs, seed, split)
        self.note = self._simulated.note
        self.draws = seed == "random"
        self.schedules = self._simulated.stops or ((*self._shorter, epochs) if self._shorter else ())
        self._what = {
            "table": table.name,
            "digest": table.index.digest,
            "dataset": dataset,
            "split": split,
            "epochs": epochs,
            "seed": seed,
            "unit": table.index.units["accuracy"],
            "note": self.note,
        }

    def evaluate(self, arch: Architecture, epochs: int | None, rng: np.random.Generator) -> Evaluation:
        if epochs is not None and epochs not in self.schedules:
            self.check_epochs(epochs)
        own = None if epochs is None else self._shorter.get(epochs)
        results = self._simulated.results(arch, epochs) if own is None else own.results(arch)
        found = results[0] if len(results) == 1 else results[int(rng.random() * len(results))]
        return Evaluation(found.accuracy, found.seconds)

    def known(self, archs: Sequence[Architecture]) -> np.ndarray | None:
        import numpy as np

        return np.array([self._mean(arch) for arch in archs])

    def describe(self) -> dict[str, Any]:
        return dict(self._what)

    def usual_seconds(self) -> float:
        """The budget of each run where none is given: 0 where trainings cost nothing, so that no seconds limit them.

        The 12,000 seconds of NAS-Bench-201's paper, or as many as about :data:`USUAL_TRAININGS` of this table cost if
        those are less.
        """
        import numpy as np

        rng = np.random.default_rng(0)
        costs = []
        for _ in range(_SAMPLED):
            with suppress(InputError):  # it was not trained
                costs.append(self.evaluate(self.space.sample(rng), None, rng).seconds)
        mean = sum(costs) / max(1, len(costs))
        return min(_PUBLISHED_SECONDS, float(f"{USUAL_TRAININGS * mean:.2g}"))

    def _mean(self, arch: Architecture) -> float:
        try:
            results = self._simulated.results(arch)
        except InputError:  # it was not trained
            return math.nan
        return sum(r.accuracy for r in results) / len(results)


def _simulated(
    table: Table, dataset: str, epochs: int, seed: Seed | Literal["random"], split: str
) -> SimulatedTraining:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CostWarning)  # it is in the description
        return SimulatedTraining(table, dataset, epochs, seed, split=split)


def _other_schedules(
    table: Table, dataset: str, epochs: int, seed: Seed | Literal["random"], split: str
) -> dict[int, SimulatedTraining]:
    """The shorter schedules of the table, ascending, as far as it has the same accuracy and its cost."""
    name = table.index.aliases.get(dataset, dataset)
    lengths = {m.epochs for m in table.metrics() if (m.dataset, m.split, m.quantity) == (name, split, "accuracy")}
    found: dict[int, SimulatedTraining] = {}
    for length in sorted(e for e in lengths if e < epochs):
        with suppress(InputError):  # no such seed, or no cost
            found[length] = _simulated(table, dataset, length, seed, split)
    return found


def open_objective(
    table: Table, dataset: str | None, epochs: int | None, split: str | None, seed: Seed | Literal["random"] | None
) -> TableObjective:
    """The objective that is meant where some of it is left out.

    The only dataset; the validation accuracy, or the test accuracy where there is no other; NAS-Bench-201's 12 epochs,
    else the shortest schedule; single runs at random where the table has any, as the benchmarks' scripts ask.

    Raises:
        InputError: There are several datasets to choose from, or what was asked for is not there.
    """
    metrics = [m for m in table.metrics() if m.quantity == "accuracy" and m.split in ("valid", "test")]
    datasets = list(dict.fromkeys(m.dataset for m in metrics))
    if dataset is None:
        if len(datasets) != 1:
            raise InputError(f"table {table.name}: say which dataset (it has {', '.join(datasets)})")
        dataset = datasets[0]
    name = table.index.aliases.get(dataset, dataset)
    here = [m for m in metrics if m.dataset == name]
    if split is None:
        split = "valid" if any(m.split == "valid" for m in here) else "test"
    if epochs is None:
        schedules = {m.epochs for m in here if m.split == split}
        epochs = min(schedules, default=12)
    if seed is None:
        runs = {m.seed for m in here if m.split == split and m.epochs == epochs}
        seed = "random" if runs - {"mean"} else "mean"
    return TableObjective(table, dataset, epochs, split=split, seed=seed)
