"""The run of a search that trains supernets on images, or prunes them: what its commands have in common."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prejudge.cli import output
from prejudge.cli.options import DataOptions, EngineOptions
from prejudge.cli.progress import ClusterBar, ProgressBar
from prejudge.cli.search_output import open_table, show_recommendations
from prejudge.errors import InputError

if TYPE_CHECKING:
    from prejudge.search import SearchEvent, SearchResult


def search_images(
    method: str,
    space: str,
    images: DataOptions,
    *,
    out: Path | None,
    benchmark: str | None,
    options: Mapping[str, Any],
    seeds: range,
    macro: Mapping[str, Any],
    training: Mapping[str, Any],
    device: str,
    machine: EngineOptions,
    as_json: bool,
    resume: Path | None = None,
    epoch: int | None = None,
    precision: str = "fp32",
    channels_last: bool = True,
) -> None:
    """Run the search, write its result, and print the recommendations; arguments as of the commands."""
    from prejudge.data.loading import load
    from prejudge.formats.lock import alone
    from prejudge.search import run, write_result
    from prejudge.search.registry import read_method
    from prejudge.search.supernet import SupernetContext
    from prejudge.spaces import space as find_space

    chosen, given = read_method(method, options)
    where = find_space(space)
    chosen.check_space(where)  # said before anything is loaded
    kept = output.run_folder(out)
    table = open_table(benchmark, space)
    data = load(images.data, **images.places(), labels=chosen.context.needs_labels)
    trains = issubclass(chosen.context, SupernetContext)
    bar = ClusterBar("searching" if trains else "measuring", quiet=as_json)
    engine = machine.open(device, bar.watch)

    from prejudge.train.device import DeviceConfig
    from prejudge.train.process_group import joined

    with joined(device) as world, bar:
        computing: Any = device
        if trains and engine.in_process:
            computing = DeviceConfig(world.device(device), precision, channels_last, process_group=world)
        elif trains:
            if world.size > 1 or resume is not None:
                what = "--resume" if resume is not None else "torchrun"
                raise InputError(f"{what} is for one run at a time: leave --workers and --engine out")
            computing = partial(DeviceConfig, device, precision, channels_last)
            if not engine.elsewhere:
                computing()  # what cannot be is said before workers are started
        first = world.is_first
        epochs = _EpochBar(quiet=as_json or not first or not (trains and engine.in_process))
        with epochs, alone(out) if out is not None and kept is not None and first else nullcontext():
            result = run(
                method,
                space=where,
                data=data,
                seeds=seeds,
                options=given,
                macro=macro,
                training=training,
                engine=engine,
                device=computing,
                folder=kept,
                resume_from=resume,
                resume_epoch=epoch,
                progress=None if trains and engine.in_process else bar,
                callbacks=[epochs.show] if trains else [],
            )
            written = write_result(result, out) if out is not None and first else None
    if first:
        show_recommendations(result, table, written, as_json=as_json)
        _say_failures(result)
        if bar.summary:
            output.say(f"by node: {bar.summary}")


def _say_failures(result: SearchResult) -> None:
    rounds = [made for run in result.trajectories for made in run.metadata.get("rounds", [])]
    reasons = dict.fromkeys(reason for made in rounds for reason in made["failures"])
    if reasons:
        output.say(f"note: some figures are missing: {'; '.join(reasons)}")


class _EpochBar(ProgressBar):
    """The progress of one run, with the figures of the last epoch."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__("searching", quiet=quiet)

    def show(self, event: SearchEvent) -> None:
        """One epoch of a stage has ended."""
        epoch = event.details
        said: dict[str, Any] = {"loss": epoch.train_loss, "train": epoch.train_accuracy, **epoch.accuracies}
        said |= {name: value for name, value in epoch.metadata.items() if isinstance(value, float)}
        numbers = " ".join(f"{name} {value:.3g}" for name, value in said.items())
        self.describe(f"seed {event.seed} {event.part} {numbers}")
        self(event.number, event.total or event.number)
