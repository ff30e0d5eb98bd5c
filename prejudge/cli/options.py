"""Options that several commands have: which network, which images."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from cyclopts import Group, Parameter, validators

from prejudge.cli.arguments import pairs
from prejudge.errors import InputError
from prejudge.train.recipes.recipe import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prejudge.engine import Engine
    from prejudge.spaces import Space

MACHINE = Group("Device", sort_key=9)
Positive = validators.Number(gte=1)

_NETWORK = Group("Network (the published macro-architecture if left out)", sort_key=1)


@Parameter(name="*", group=_NETWORK)
@dataclass(frozen=True)
class NetworkOptions:
    """Macro-architecture of the networks.

    Attributes:
        form: Network form of the space, e.g. official or zero-cost-nas.
        channels: Width of the first stage.
        cells: Cells per stage, or in all.
        macro: Any other macro field: NAME=VALUE.
    """

    form: str | None = None
    channels: int | None = None
    cells: int | None = None
    macro: list[str] | None = None

    def overrides(self, space: Space[Any]) -> dict[str, Any]:
        """The numbers that were given; raises :class:`~prejudge.errors.InputError` for one that the space lacks."""
        numbers = self.given()
        space.macro(**numbers)  # said before anything is loaded
        return numbers

    def given(self) -> dict[str, Any]:
        """The numbers that were given."""
        given = {"form": self.form, "channels": self.channels, "cells": self.cells}
        return {k: v for k, v in given.items() if v is not None} | pairs(self.macro or [])


PUBLISHED = NetworkOptions()
"""No number given: the published ones."""


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """The images.

    Attributes:
        data: Images: digits, cifar10, cifar100, svhn, mnist, fashionmnist, imagenet16-120, imagenet,
            npz:FILE or folder:DIR.
        data_dir: Folder with the files of a named data set.
        download: Fetch a named data set that is not there yet.
        normalization: Published mean and deviation to use, e.g. cifar10; the data's own, or those published for it.
        per_class: Images of each class to read, of folders and of imagenet; of imagenet 10 where they are read into
            memory, else all.
        no_verify: Read files of cifar10, cifar100 and svhn whatever their checksums: others' images in that layout.
    """

    data: str
    data_dir: Path | None = None
    download: bool = False
    normalization: str | None = None
    per_class: Annotated[int | None, Parameter(validator=Positive)] = None
    no_verify: bool = False

    def places(self) -> dict[str, Any]:
        """Keyword arguments of the loaders, as of :func:`prejudge.data.load`."""
        return {
            "data_dir": self.data_dir,
            "download": self.download,
            "normalization": self.normalization,
            "per_class": self.per_class,
            "verify": not self.no_verify,
        }


def _optional(cls: type[TrainingOptions]) -> type[TrainingOptions]:
    """Give a class the options of :class:`Recipe`, each of them None where it is left out, with a panel per group."""
    helps = [inspect.cleandoc(group.__doc__ or "").partition("Attributes:\n")[2] for group in GROUPS]
    cls.__doc__ = f"{cls.__doc__}\n\nAttributes:\n" + "\n".join(helps)
    for number, group in enumerate(GROUPS):
        panel = Group(f"Training: {group.__name__.removesuffix('Options').lower()}", sort_key=2 + number)
        kinds = get_type_hints(group)
        for name in group.names():
            cls.__annotations__[name] = Annotated[kinds[name] | None, Parameter(group=panel)]
            setattr(cls, name, None)
    return dataclass(frozen=True)(cls)


@Parameter(name="*")
@_optional
class TrainingOptions:
    """Options of a training; those that are left out are the command's own."""

    def given(self) -> dict[str, Any]:
        """The options that were given, by the names of :class:`~prejudge.train.recipes.recipe.Recipe`."""
        return {name: value for name, value in vars(self).items() if value is not None}


OWN_TRAINING = TrainingOptions()
"""No number given: the command's own."""


@Parameter(name="*", group=MACHINE)
@dataclass(frozen=True)
class EngineOptions:
    """The engine of independent jobs.

    Attributes:
        workers: Processes; one here if left out, on a Ray cluster as many as fit.
        threads: Threads of all processes together; not with --engine ray.
        engine: local (processes of this machine) or ray (a Ray cluster).
        address: Of the Ray cluster: HOST:PORT of its head, ray://HOST:PORT, local (started for this run), or auto.
        threads_per_worker: Threads of each process; on a Ray cluster each reserves as many CPUs, 1 if left out.
        gpus_per_worker: GPUs that each process reserves on a Ray cluster, e.g. 0.25; 1 for --device cuda if left out.
        retries: How often a job is tried again whose process on a Ray cluster has died; 3 if left out.
    """

    workers: Annotated[int | None, Parameter(validator=Positive)] = None
    threads: Annotated[int | None, Parameter(validator=Positive)] = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    threads_per_worker: Annotated[int | None, Parameter(validator=Positive)] = None
    gpus_per_worker: float | None = None
    retries: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None

    def open(
        self, device: str | None, watch: Callable[[str], None] | None = None, timeout: float | None = None
    ) -> Engine:
        """The engine that is meant; also gives torch the threads that it needs for it.

        Args:
            device: Where the jobs will compute.
            watch: Told the node of every job that a cluster has done.
            timeout: Seconds after which a job is given up.

        Raises:
            InputError: An option belongs to the other engine, or two contradict each other.
        """
        if self.threads is not None and self.threads_per_worker is not None:
            raise InputError("give --threads (of all processes together) or --threads-per-worker, not both")
        if self.engine == "local":
            return self._local(timeout)
        if timeout is not None:
            raise InputError("--timeout is for processes of this machine, not for --engine ray")
        if self.threads is not None:
            raise InputError("--threads is for processes of this machine; with --engine ray give --threads-per-worker")
        from prejudge.engine import RayEngine

        gpus = self.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if device is not None and device.startswith("cuda") else 0.0
        given = {"address": self.address, "threads_per_worker": self.threads_per_worker, "retries": self.retries}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return RayEngine(workers=self.workers, gpus_per_worker=gpus, watch=watch, **chosen)

    def _local(self, timeout: float | None) -> Engine:
        from prejudge.engine import LocalEngine

        for name in ("address", "gpus_per_worker", "retries"):
            if getattr(self, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} needs --engine ray")
        workers = self.workers or 1
        use_threads(self.threads if self.threads_per_worker is None else workers * self.threads_per_worker)
        return LocalEngine(workers, timeout)


THIS_PROCESS = EngineOptions()
"""No option given: everything in this process."""


def use_threads(threads: int | None) -> None:
    """Give torch so many threads, where a number was given."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
