"""What a search maximizes, as the command line says it: a table, or networks that are trained or scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cyclopts import Group, Parameter

from prejudge.cli.options import DataOptions, NetworkOptions, TrainingOptions
from prejudge.errors import InputError
from prejudge.formats.text import whole_number

if TYPE_CHECKING:
    from prejudge.benchmarks import Table
    from prejudge.search import Objective

LIVE = Group("Maximize what networks reach: a training of each, or a proxy", sort_key=1)

_TABLE = Group("Maximize what a table says", sort_key=1)


@Parameter(name="*", group=_TABLE)
@dataclass(frozen=True)
class TableOptions:
    """Which accuracies of a table.

    Attributes:
        benchmark: Name of an imported or embedded table, or its file.
        dataset: Dataset whose accuracy is maximized; needed where the table has several.
        split: Images whose accuracy is maximized; valid, or test where the table has no other, if left out.
        run_seed: random (each question draws one of the training runs), mean, or a run's seed; random where there are
            single runs, if left out.
    """

    benchmark: str | None = None
    dataset: str | None = None
    split: Literal["valid", "test"] | None = None
    run_seed: str | None = None

    def open(self, space: str | None, epochs: int | None) -> tuple[Table, Objective]:
        """The table, and its accuracies as an objective."""
        from prejudge.benchmarks import benchmark
        from prejudge.search.objectives import open_objective

        assert self.benchmark is not None
        table = benchmark(self.benchmark)
        if space is not None and space != table.space:
            raise InputError(f"table {table.name} is of {table.space}, not {space}")
        return table, open_objective(table, self.dataset, epochs, self.split, self._seed())

    def _seed(self) -> int | Literal["mean", "random"] | None:
        text = self.run_seed
        if text is None or (number := whole_number(text)) is not None:
            return None if text is None else number
        if text not in ("mean", "random"):
            raise InputError(f"--run-seed is mean, random or the number of a training run's seed, not {text!r}")
        return text  # type: ignore[return-value]


@Parameter(name="*", group=LIVE)
@dataclass(frozen=True)
class LiveOptions:
    """How networks are judged on the way.

    Attributes:
        proxy: Maximize a training-free score instead of training: NAME, NAME(option=value) or FILE.py:NAME.
        train_share: Share of the training images that is learned; the others validate.
    """

    proxy: str | None = None
    train_share: float = 0.5

    def open(
        self, space: str, images: DataOptions, network: NetworkOptions, training: TrainingOptions, device: str
    ) -> Objective:
        """A proxy's score, or the accuracy after a training, as an objective."""
        from prejudge.data.loading import load
        from prejudge.data.splits import random_split
        from prejudge.search.objectives import HNAS_TRAINING, ProxyObjective, TrainingObjective
        from prejudge.spaces import space as find_space

        where = find_space(space)
        macro = network.overrides(where)
        data = load(images.data, **images.places())
        if self.proxy is not None:
            batch = {k: v for k, v in training.given().items() if k == "batch_size"}
            return ProxyObjective(where, data, self.proxy, macro=macro, device=device, **batch)
        drops = {} if "drop_path" in where.default_macro else {"drop_path": 0.0}
        numbers = HNAS_TRAINING.with_options(drops | training.given())
        parts = random_split(data, self.train_share)
        return TrainingObjective(where, *parts, numbers, macro=macro, device=device)


NO_TABLE = TableOptions()
A_TRAINING = LiveOptions()
