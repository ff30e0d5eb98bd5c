"""What a trained accuracy is an accuracy of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from prejudge.errors import InputError

Seed = int | Literal["mean"]
"""One training run's seed, or ``"mean"`` over all runs."""

_TEXT = re.compile(r"^(?P<dataset>.+)_(?P<split>[A-Za-z0-9-]+)_(?P<epochs>\d+)ep(?:_seed(?P<seed>\d+))?$")


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of a benchmark table. Only the seed has a default: no split or schedule is taken silently.

    Attributes:
        dataset: The data that the networks were trained on, e.g. ``"cifar10"``.
        split: The images that the accuracy was measured on: ``"valid"`` or ``"test"`` (or ``"train"``).
        epochs: Length of the training schedule; accuracies are those after its last epoch.
        seed: The training run's seed, or ``"mean"`` over the runs.
    """

    dataset: str
    split: str
    epochs: int
    seed: Seed = "mean"

    def __post_init__(self) -> None:
        if not self.dataset or not self.split or not isinstance(self.dataset, str) or not isinstance(self.split, str):
            raise InputError(
                f"a metric needs the names of a dataset and a split, not {self.dataset!r} and {self.split!r}"
            )
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise InputError(f"epochs of a metric must be a positive integer, not {self.epochs!r}")
        if self.seed != "mean" and (isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0):
            raise InputError(f"seed of a metric must be 'mean' or a seed (an integer >= 0), not {self.seed!r}")

    @classmethod
    def parse(cls, text: str) -> Metric:
        """Read ``{dataset}_{split}_{epochs}ep`` or ``{dataset}_{split}_{epochs}ep_seed{seed}``.

        Raises:
            InputError: The text has another form.
        """
        match = _TEXT.match(text.strip())
        if match is None:
            raise InputError(f"cannot read metric {text!r}; write cifar10_test_200ep or cifar10_test_200ep_seed777")
        seed = match["seed"]
        return cls(match["dataset"], match["split"], int(match["epochs"]), "mean" if seed is None else int(seed))

    def __str__(self) -> str:
        seed = "" if self.seed == "mean" else f"_seed{self.seed}"
        return f"{self.dataset}_{self.split}_{self.epochs}ep{seed}"
