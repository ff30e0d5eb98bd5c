"""The name of a column of a benchmark table: data, split, schedule, training run and quantity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from prejudge.errors import InputError, quoted

Seed = int | Literal["mean"]
"""One training run's seed, or ``"mean"`` over all runs."""

ACCURACY = "accuracy"

_TEXT = re.compile(
    r"^(?P<dataset>.+)_(?P<split>[A-Za-z0-9-]+)_(?P<epochs>\d{1,18})ep(?:_seed(?P<seed>\d{1,18}))?(?:_(?P<quantity>[a-z][a-z-]*))?$"
)
_QUANTITY = re.compile(r"[a-z][a-z-]*")
_LONGEST = 200


class MetricFields(TypedDict, total=False):
    """The fields of :class:`Metric` as keyword arguments."""

    dataset: str
    split: str
    epochs: int
    seed: Seed
    quantity: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of a benchmark table. No split or schedule is taken silently: only seed and quantity have a default.

    Attributes:
        dataset: The data that the networks were trained on, e.g. ``"cifar10"``.
        split: The images that the accuracy was measured on: ``"valid"`` or ``"test"`` (or ``"train"``).
        epochs: Length of the training schedule; accuracies are those after its last epoch.
        seed: The training run's seed, or ``"mean"`` over the runs.
        quantity: ``"accuracy"``, or what else was measured: ``"loss"``, ``"seconds"`` (of split ``train`` the whole
            training, of another split one evaluation), ``"halfway-accuracy"`` …; a table says the units.
    """

    dataset: str
    split: str
    epochs: int
    seed: Seed = "mean"
    quantity: str = ACCURACY

    def __post_init__(self) -> None:
        if not self.dataset or not self.split or not isinstance(self.dataset, str) or not isinstance(self.split, str):
            raise InputError(
                "a metric needs the names of a dataset and a split, "
                f"not {quoted(self.dataset)} and {quoted(self.split)}"
            )
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise InputError(f"epochs of a metric must be a positive integer, not {quoted(self.epochs)}")
        if self.seed != "mean" and (isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0):
            raise InputError(f"seed of a metric must be 'mean' or a seed (an integer >= 0), not {quoted(self.seed)}")
        if not isinstance(self.quantity, str) or not _QUANTITY.fullmatch(self.quantity):
            raise InputError(f"quantity of a metric is lower-case letters and hyphens, not {quoted(self.quantity)}")

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Read ``{dataset}_{split}_{epochs}ep``, then optionally ``_seed{seed}`` and ``_{quantity}``.

        Raises:
            InputError: The text has another form.
        """
        match = _TEXT.fullmatch(text.strip()) if len(text) <= _LONGEST else None
        if match is None:
            raise InputError(
                f"cannot read metric {quoted(text)}; write cifar10_test_200ep or cifar10_test_200ep_seed777"
            )
        seed: Seed = "mean" if match["seed"] is None else int(match["seed"])
        return cls(match["dataset"], match["split"], int(match["epochs"]), seed, match["quantity"] or ACCURACY)

    @property
    def is_accuracy(self) -> bool:
        """Whether it is an accuracy, of whatever moment, and so in the table's unit of accuracies."""
        return self.quantity.endswith(ACCURACY)

    def __str__(self) -> str:
        seed = "" if self.seed == "mean" else f"_seed{self.seed}"
        quantity = "" if self.quantity == ACCURACY else f"_{self.quantity}"
        return f"{self.dataset}_{self.split}_{self.epochs}ep{seed}{quantity}"


def brief(metrics: Sequence[Metric], limit: int = 12) -> str:
    """The metrics for an error message: mean accuracies first, and how many more there are."""
    ordered = sorted(metrics, key=lambda m: (m.quantity != ACCURACY, m.seed != "mean"))
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(map(str, ordered[:limit])) + more
