"""Which metrics of a table the options ``--metric``, ``--dataset``, ``--split``, ``--epochs`` and ``--seed`` mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from prejudge.benchmarks.table.metric import brief
from prejudge.errors import InputError
from prejudge.formats.text import whole_number

if TYPE_CHECKING:
    from prejudge.benchmarks import Metric, Table


def choose(
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
    """The metrics that were named, or else the candidates that fit.

    Args:
        table: The table.
        candidates: What to choose from where no metric is named.
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


def _number(seed: str) -> int:
    number = whole_number(seed)
    if number is None:
        raise InputError(f"--seed is mean or the number of a training run's seed, not {seed!r}")
    return number
