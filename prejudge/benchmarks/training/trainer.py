"""A table of accuracies that prejudge trains itself: every architecture, several seeds, resumable at any moment."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge._version import __version__
from prejudge.benchmarks.table.metric import Metric, Seed
from prejudge.benchmarks.table.rows import RowNumbers, has_own_order
from prejudge.benchmarks.table.writer import write_table
from prejudge.benchmarks.training.runs import FinishedTrainings
from prejudge.benchmarks.training.table_recipe import TableRecipe
from prejudge.engine import Engine, Progress, local_unless
from prejudge.engine.worker import prepare
from prejudge.errors import InputError, check_integer
from prejudge.formats.atomic import destination
from prejudge.spaces.base import space as space_named
from prejudge.spaces.selection import select

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.data.dataset import ImageDataset
    from prejudge.data.splits import Splits
    from prejudge.spaces.base import Architecture, Space


@dataclass(frozen=True)
class TrainingJob:
    """One training: an architecture, as text, and a seed."""

    architecture: str
    seed: int


@dataclass
class Trainer:
    """Trains jobs, in this process or in a worker.

    Attributes:
        space: The search space.
        data: The images.
        recipe: The numbers, with a complete macro.
        device: Where to train.
    """

    space: Space[Any]
    data: Splits
    recipe: TableRecipe
    device: str = "cpu"

    def __call__(self, job: TrainingJob) -> dict[str, Any]:
        """Train; the same job gives the same result on the same machine at the same number of threads.

        Returns:
            ``valid`` (per cent after each epoch), ``test`` (per cent at the end), ``train`` and ``loss`` (of each
            epoch, while it was learned) and ``seconds``; or ``failed``, the reason.
        """
        from prejudge.train.evaluation.accuracy import accuracy
        from prejudge.train.learner import fit_from_seed
        from prejudge.train.loop import TrainingFailure

        architecture, macro, device = self.space.parse(job.architecture), dict(self.recipe.macro), self.device
        try:
            network, epochs = fit_from_seed(
                lambda: self.space.network(architecture, **macro),
                self.data.train,
                self.recipe.training,
                seed=job.seed,
                evaluate=lambda trained: {"valid": accuracy(trained, *self._valid, device=device)},
                device=device,
            )
        except TrainingFailure as failure:
            return {"failed": str(failure)}
        return {
            "valid": [e.accuracies["valid"] for e in epochs],
            "test": accuracy(network, *self._test, device=device),
            "train": [e.train_accuracy for e in epochs],
            "loss": [e.train_loss for e in epochs],
            "seconds": sum(e.seconds for e in epochs),
        }

    @cached_property
    def _valid(self) -> tuple[Tensor, Tensor]:
        return self._noisy(self.data.required("valid"), self.recipe.valid_copies, 2 * self.recipe.noise_seed + 1)

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self._noisy(self.data.required("test"), self.recipe.test_copies, 2 * self.recipe.noise_seed + 2)

    def _noisy(self, data: ImageDataset, copies: int, seed: int) -> tuple[Tensor, Tensor]:
        """The same noisy images for every architecture and seed, normalized as the training images are."""
        import torch

        from prejudge.data.transforms import normalize

        images = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous().repeat(copies, 1, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        train = self.data.train
        inputs = normalize(images, train.mean, train.std, noise=self.recipe.training.noise_std, generator=generator)
        return inputs, torch.from_numpy(data.labels).repeat(copies)


def train_table(
    space: Space[Any] | str,
    archs: Iterable[Architecture] | str,
    data: Splits | str,
    *,
    out: str | os.PathLike[str],
    seeds: Sequence[int] = (0, 1, 2),
    recipe: TableRecipe | None = None,
    workers: int = 1,
    per_class: bool | None = None,
    device: str = "cpu",
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train architectures and write their table.

    Every finished training is kept in ``OUT.runs`` beside the table at once. A call that was interrupted, even by
    SIGKILL, goes on where it was: only trainings that are not there are done. More architectures or seeds can be added
    later in the same way; a table trained by another recipe or on other images cannot.

    Args:
        space: The search space, or its name.
        archs: What to train: architectures, or a selection as :func:`prejudge.spaces.select` reads it.
        data: Images to learn, to validate on after every epoch, and to test on at the end; or their name, as for
            :func:`prejudge.data.load_splits`.
        out: The table to write once all trainings are done.
        seeds: One training of each architecture for each; seed by seed, so that what there is is comparable.
        recipe: The numbers; for NAS-Bench-201's own long schedule ``TableRecipe()``.
        workers: Processes of this machine; the threads of this process are divided between them.
        per_class: Train the representative of the class of each architecture instead of itself; by default where
            ``archs`` is ``"unique"``.
        device: Where to train.
        engine: Where the trainings run, in place of ``workers`` processes; e.g. :class:`~prejudge.engine.RayEngine`.
        progress: Called after every training.

    Returns:
        The path written. The table has, in per cent, a ``valid`` and a ``test`` column for each seed and for their
        mean, the learning curves on the validation images, and as extras ``params``, ``flops`` and ``train_seconds``
        (the mean of a training without evaluation). Where one of an architecture's trainings failed its mean is NaN.

    Raises:
        InputError: An argument is wrong, or ``out`` was begun with other numbers.
        BusyError: Another process is training into ``out``.
        PrejudgeError: A file cannot be written, a worker died, or the engine cannot be had.
    """
    from prejudge.data.splits import load_splits

    if destination(Path(out)) is None:
        raise InputError(f"{out} is a pipe or a device; a table that is trained needs a file, by custom NAME.h5")
    engine = local_unless(engine, workers)
    if isinstance(space, str):
        space = space_named(space)
    if per_class is None:
        per_class = archs == "unique"
    if isinstance(archs, str):
        archs = select(space, archs)
    if isinstance(data, str):
        data = load_splits(data)
    recipe = (recipe or TableRecipe()).completed(space, data.train)
    if recipe.train_images is not None:
        data = data.with_train_images(recipe.train_images)
    cells = [space.parse(a) for a in archs]
    if per_class:
        cells = [space.representative(a) for a in cells]
    if not has_own_order(space):  # one training for architectures that the table would hold in one row
        cells = list({space.canonical(a): a for a in reversed(cells)}.values())[::-1]
    texts = list(dict.fromkeys(str(a) for a in cells))
    seeds = list(dict.fromkeys(check_integer("a seed", seed, least=0) for seed in seeds))
    if not texts or not seeds:
        raise InputError("nothing to train: at least one architecture and one seed are needed")
    plan = {
        "space": space.name,
        "data": data.name,
        "images": {split: data.required(split).digest for split in ("train", "valid", "test")},
        "normalization": [list(data.train.mean), list(data.train.std)],
        "recipe": recipe.as_dict(),
        "per class": per_class,
    }
    with FinishedTrainings(Path(out), plan) as log:
        jobs = [TrainingJob(t, s) for s in seeds for t in texts if (t, s) not in log.results]
        _train(log, Trainer(space, data, recipe, device), jobs, engine, progress)
        return _write(Path(out), space, log, seeds, recipe, data, per_class)


def _train(
    log: FinishedTrainings, trainer: Trainer, jobs: Sequence[TrainingJob], engine: Engine, progress: Progress | None
) -> None:
    if not jobs:
        return
    import torch

    threads, start = engine.threads(torch.get_num_threads()), time.perf_counter()
    with engine:
        log.begin(_environment(trainer.device, threads, engine))
        results = engine.run(
            trainer,
            jobs,
            initializer=None if engine.in_process else prepare,
            initargs=(threads, trainer.device if engine.elsewhere else None),
        )
        with closing(results):
            for done, (job, result) in enumerate(results, start=1):
                log.put(job.architecture, job.seed, result)
                if progress is not None:
                    progress(done, len(jobs), time.perf_counter() - start)


def _write(
    out: Path,
    space: Space[Any],
    log: FinishedTrainings,
    seeds: Sequence[int],
    recipe: TableRecipe,
    data: Splits,
    per_class: bool,
) -> Path:
    numbers, epochs, order = RowNumbers(space), recipe.training.epochs, list(seeds)
    runs = {(numbers.row(space.parse(t)), s): r for (t, s), r in log.results.items() if s in order}
    trained = {numbers.row(a): a for a in (space.parse(t) for t, s in log.results if s in order)}
    size = len(numbers)
    valid, test = np.full((len(order), size, epochs), np.nan), np.full((len(order), size, 1), np.nan)
    seconds = np.full((len(order), size), np.nan)
    for (index, seed), run in runs.items():
        if "failed" not in run:
            k = order.index(seed)
            valid[k, index], test[k, index], seconds[k, index] = run["valid"], run["test"], run["seconds"]
    columns: dict[Metric, np.ndarray] = {}
    curves: dict[Metric, np.ndarray] = {}
    for split, values in (("valid", valid), ("test", test)):
        named: list[Seed] = [*order, "mean"]
        for k, of in enumerate(named):
            metric = Metric(data.name, split, epochs, of)
            # A mean over fewer seeds than the others have would not be comparable: it is NaN instead.
            curve = values[k] if k < len(order) else values.mean(axis=0)
            columns[metric] = curve[:, -1]
            if split == "valid":
                curves[metric] = curve
    params, flops = np.full(size, np.nan), np.full(size, np.nan)
    for index, arch in trained.items():
        params[index] = space.params(arch, **dict(recipe.macro))
        flops[index] = space.flops(arch, image_size=data.train.image_size, **dict(recipe.macro))
    return write_table(
        out,
        space.name,
        columns,
        architectures=numbers.architectures,
        keys=numbers.keys,
        extra={"params": params, "flops": flops, "train_seconds": seconds.mean(axis=0).round(3)},
        units={"accuracy": "per cent", "params": "parameters", "flops": "multiply-adds", "train_seconds": "seconds"},
        provenance=_provenance(log, order, recipe, data, sum("failed" in r for r in runs.values())),
        curves=curves,
        per_class=per_class,
        fractions=False,
    )


def _provenance(
    log: FinishedTrainings, seeds: Sequence[int], recipe: TableRecipe, data: Splits, failed: int
) -> dict[str, object]:
    counts = {split: len(images) for split, images in data.named().items()}
    counts["valid"], counts["test"] = counts["valid"] * recipe.valid_copies, counts["test"] * recipe.test_copies
    return {
        "made by": f"prejudge {__version__}, bench train",
        "data": data.name,
        "images": ", ".join(f"{n} {split}" for split, n in counts.items()),
        "digests": json.dumps(log.plan["images"], sort_keys=True),
        "normalization": json.dumps(log.plan["normalization"]),
        "recipe": json.dumps(recipe.as_dict(), sort_keys=True),
        "seeds": ", ".join(map(str, seeds)),
        "failed trainings": failed,
        "trained with": "; ".join(log.environments),
    }


def _environment(device: str, threads: int, engine: Engine) -> str:
    """Versions and devices, which may change the last digits of a result, and its seconds."""
    import torch

    here = device.startswith("cuda") and not engine.elsewhere
    where = f"{device} ({torch.cuda.get_device_name(device)})" if here else device
    machine = "other machines" if engine.elsewhere else f"{platform.system()} {platform.machine()}"
    team = ", ".join(f"{name} {value}" for name, value in engine.describe().items())
    each = f"{threads} thread{'s' * (threads > 1)} for each worker"
    return f"torch {torch.__version__} on {where}, {machine}, {each}, {team}"
