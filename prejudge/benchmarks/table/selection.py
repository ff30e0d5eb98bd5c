"""Selections of a table's metrics by dataset, split, schedule, seed and quantity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from prejudge.benchmarks.table.metric import ACCURACY, Metric, brief
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError
from prejudge.formats.text import whole_number


def select_metrics(
    table: Table,
    candidates: Iterable[Metric],
    *,
    metric: Sequence[str] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    epochs: int | None = None,
    seed: str | None = None,
    quantity: str | None = None,
) -> list[Metric]:
    """The metrics that are named, or else the candidates that fit.

    Args:
        table: The table.
        candidates: The metrics to select from where none is named.
        metric: Names of metrics, as ``cifar10_test_200ep``.
        dataset: Name of the dataset, or another name that the table knows for it.
        split: Name of the split.
        epochs: Length of the schedule.
        seed: ``mean``, or a training run's seed; None takes the candidates' own.
        quantity: ``accuracy``, ``loss``, ``seconds`` …

    Raises:
        InputError: Nothing fits; the message names what there is. Or both ways of choosing are used at once.
    """
    run: int | Literal["mean"] | None = None if seed is None else "mean" if seed == "mean" else _number(seed)
    wanted = {
        "dataset": table.index.aliases.get(dataset, dataset) if dataset is not None else None,
        "split": split,
        "epochs": epochs,
        "seed": run,
        "quantity": quantity,
    }
    if metric:
        if any(v is not None for v in wanted.values()):
            raise InputError("give --metric, or --dataset, --split, --epochs, --seed and --quantity, not both")
        return [table.metric(m) for m in metric]
    found = [m for m in candidates if all(v is None or v == getattr(m, k) for k, v in wanted.items())]
    if not found:
        asked = ", ".join(f"{k} {v}" for k, v in wanted.items() if v is not None)
        raise InputError(f"table {table.name} has nothing for {asked} (it has {brief(table.metrics())})")
    return found


def default_metrics(table: Table) -> list[Metric]:
    """Every test column at its longest schedule: means over seeds, or single seeds where a table has no means.

    Raises:
        InputError: The table has no test column; the message names those it has.
    """
    test = [m for m in table.metrics() if m.split == "test" and m.quantity == ACCURACY]
    if not test:
        known = brief(table.metrics())
        raise InputError(f"table {table.name} has no test column; choose a metric (it has {known})")
    longest = {m.dataset: max(o.epochs for o in test if o.dataset == m.dataset) for m in test}
    chosen = [m for m in test if m.epochs == longest[m.dataset]]
    with_mean = {m.dataset for m in chosen if m.seed == "mean"}
    return [m for m in chosen if m.seed == "mean" or m.dataset not in with_mean]


def report_metrics(
    table: Table,
    *,
    metric: Sequence[str] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    epochs: int | None = None,
) -> list[Metric]:
    """Select the metrics of a report; see :func:`select_metrics`.

    Where neither split nor schedule is said: every test column at its longest schedule; else the mean accuracies.
    """
    candidates = (
        default_metrics(table)
        if split is None and epochs is None and not metric
        else [m for m in table.metrics() if m.seed == "mean" and m.quantity == ACCURACY]
    )
    return select_metrics(table, candidates, metric=metric, dataset=dataset, split=split, epochs=epochs)


def _number(seed: str) -> int:
    number = whole_number(seed)
    if number is None:
        raise InputError(f"--seed is mean or the number of a training run's seed, not {seed!r}")
    return number
