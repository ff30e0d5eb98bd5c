"""Fabricates small files in the published formats of NAS-Bench-201 and NATS-Bench (topology); nothing here is measured.

``contents`` gives what the official classes' state dicts hold, as plain dicts; the ``write_*`` functions store it as
the three published kinds. Curves have their real lengths (12 and 200 epochs): the official API computes with them.
"""

from __future__ import annotations

import bz2
import hashlib
import math
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prejudge.spaces.nasbench201.space import NASBench201

DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
CLASSES = {"cifar10-valid": 10, "cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
FIRST_EVALUATION = {
    "cifar10-valid": "x-valid",
    "cifar10": "ori-test",
    "cifar100": "ori-test",
    "ImageNet16-120": "ori-test",
}
"""The set that was evaluated after each epoch from the first version on."""
LATER_EVALUATIONS = {
    "cifar10-valid": ("ori-test",),
    "cifar10": (),
    "cifar100": ("x-valid", "x-test"),
    "ImageNet16-120": ("x-valid", "x-test"),
}
IMAGES = {"cifar10-valid": 25_000, "cifar10": 50_000, "cifar100": 50_000, "ImageNet16-120": 151_700}
Seeds = Mapping[tuple[int, str], tuple[int, ...]]


@cache
def architectures(count: int) -> tuple[str, ...]:
    """The first texts in the official order."""
    space = NASBench201()
    return tuple(str(space[i]) for i in range(count))


def seeds(index: int, version: str = "v1_1") -> dict[tuple[int, str], tuple[int, ...]]:
    """``{(epochs, dataset): seeds}``: one to three seeds in turn, as the published versions have them."""
    full = ((777,), (777, 999), (777, 888, 999))[index % 3]
    if version == "v1_0":  # 12 epochs on cifar10-valid only
        return {(12, "cifar10-valid"): (111, 777), **{(200, dataset): full for dataset in DATASETS}}
    less = {(12, dataset): (777,) for dataset in DATASETS} | {(12, "cifar10-valid"): (111, 777)}
    return less | {(200, dataset): full for dataset in DATASETS}


def _curve(key: str, epochs: int, start: float, end: float) -> list[float]:
    rng = random.Random(key)
    end += rng.uniform(-2, 2) * abs(end) / 100
    return [end + (start - end) * math.exp(-4 * (e + 1) / epochs) + rng.gauss(0, 0.01) for e in range(epochs)]


def trial(arch: str, dataset: str, seed: int, epochs: int, version: str = "v1_1") -> dict[str, Any]:
    """The state dict of one ``ResultsCount``.

    A 200-epoch trial with seed 777 is of the first kind (one set evaluated after each epoch, others after the last, no
    top-5 accuracy, and in v1_0 no times); all others evaluated every set after each epoch.
    """
    old = epochs == 200 and seed == 777
    key = f"{arch} {dataset} {seed} {epochs}"
    best = 95 - 200 * (CLASSES[dataset] > 10) / 10 + random.Random(arch).uniform(-5, 0) - 8 * (epochs == 12)
    names = [FIRST_EVALUATION[dataset], *LATER_EVALUATIONS[dataset]]
    acc1es: dict[str, float] = {}
    losses: dict[str, float] = {}
    times: dict[str, float] = {}
    per_sample = random.Random(arch).uniform(2e-5, 5e-5)
    for name in names:
        accuracy = _curve(f"{key} {name} accuracy", epochs, 10.0, best - 4)
        loss = _curve(f"{key} {name} loss", epochs, 2.5, 0.4)
        for epoch in range(epochs):
            if old and name != names[0] and epoch < epochs - 1:
                continue
            epoch_key = f"{name}@{epoch}"
            acc1es[epoch_key] = accuracy[epoch]
            # The first version formatted the key anew, so that a pickle holds it twice.
            losses[f"{name}@{epoch}" if old else epoch_key] = loss[epoch]
            if not old:
                times[epoch_key] = per_sample * 10_000
        if old and version != "v1_0":  # v1_1 and NATS-Bench estimated all times from one measurement
            times |= {f"{name}@{epoch}": per_sample * 10_000 for epoch in range(epochs)}
    per_epoch = 3e-4 * IMAGES[dataset] * (1 + random.Random(arch).random())
    train_times: Any = OrderedDict((epoch, per_epoch) for epoch in range(epochs))
    return {
        "name": dataset,
        "net_state_dict": None,
        "train_acc1es": dict(enumerate(_curve(f"{key} train accuracy", epochs, 15.0, best))),
        "train_acc5es": None if old else dict(enumerate(_curve(f"{key} train top 5", epochs, 40.0, 99.0))),
        "train_losses": dict(enumerate(_curve(f"{key} train loss", epochs, 2.3, 0.1))),
        "train_times": None if old and version == "v1_0" else train_times,
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch, "class_num": CLASSES[dataset]},
        "params": 0.073306 + 64e-6 * CLASSES[dataset] + random.Random(arch).random(),
        "flop": 7.78305 + 100 * random.Random(arch).random(),
        "seed": f"{seed:04d}",  # the builders of the files took it from a file name
        "epochs": epochs,
        "latency": [random.Random(f"{arch} {dataset}").uniform(0.01, 0.03)],
        "eval_names": names,
        "eval_acc1es": acc1es,
        "eval_losses": losses,
        "eval_times": times,
    }


def results(index: int, arch: str, epochs: int, version: str = "v1_1", chosen: Seeds | None = None) -> dict[str, Any]:
    """The state dict of one ``ArchResults``; ``chosen`` replaces :func:`seeds`."""
    trials: dict[tuple[str, int], Any] = {}
    dataset_seed: dict[str, list[int]] = {}
    for (schedule, dataset), these in (chosen or seeds(index, version)).items():
        if schedule == epochs and these:
            dataset_seed[dataset] = sorted(these)
            trials |= {(dataset, seed): trial(arch, dataset, seed, epochs, version) for seed in these}
    return {
        "arch_index": index if version == "nats" else f"{index:06d}",
        "arch_str": arch,
        "all_results": trials,
        "dataset_seed": dataset_seed,
        "clear_net_done": True,
    }


def contents(count: int = 4, version: str = "v1_1", *, chosen: Seeds | None = None, omit: tuple[int, ...] = ()) -> Any:
    """The whole dict of a file with ``count`` architectures.

    Args:
        count: How many architectures ``meta_archs`` lists: the first in the official order.
        version: ``"v1_0"``, ``"v1_1"`` (keys "less" and "full") or ``"nats"`` (keys "12" and "200").
        chosen: ``{(epochs, dataset): seeds}`` for every architecture, instead of :func:`seeds`.
        omit: Indices of architectures without results.
    """
    archs = list(architectures(count))
    infos: dict[int, Any] = {}
    for index, arch in enumerate(archs):
        if index not in omit:
            less, full = (results(index, arch, epochs, version, chosen) for epochs in (12, 200))
            nats = version == "nats"
            infos[index] = OrderedDict({"12": less, "200": full}) if nats else {"full": full, "less": less}
    evaluated = set(infos) if version == "nats" else sorted(infos)
    return {"meta_archs": archs, "total_archs": count, "arch2infos": infos, "evaluated_indexes": evaluated}


def _named(folder: Path, data: bytes, name: str) -> Path:
    digest = hashlib.md5(data).hexdigest()
    path = folder / name.format(first=digest[:5], last=digest[-6:])
    path.write_bytes(data)
    return path


MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What torch's legacy files begin with."""


def legacy_bytes(value: Any) -> bytes:
    """As ``torch.save`` of 2020 wrote a value without tensors: five pickles of protocol 2."""
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, system, value, []))


def write_pth(folder: Path, content: Any, version: str = "v1_1") -> Path:
    """One torch file under its published name, ``NAS-Bench-201-v1_1-….pth`` with the last six hex digits of its md5."""
    return _named(folder, legacy_bytes(content), f"NAS-Bench-201-{version}-{{last}}.pth")


def write_zip(folder: Path, content: Any, version: str = "v1_1") -> Path:
    """The same in the container that torch has written since version 1.6."""
    path = folder / "resaved.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (("data.pkl", pickle.dumps(content, 2)), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"resaved/{name}", data)
    return path.rename(folder / f"NAS-Bench-201-{version}.pth")


def write_pbz2(folder: Path, content: Any) -> Path:
    """One compressed pickle under its published name, with the first five hex digits of its md5."""
    return _named(folder, bz2.compress(pickle.dumps(content, 4)), "NATS-tss-v1_0-{first}.pickle.pbz2")


def write_directory(folder: Path, content: Any) -> Path:
    """A directory ``NATS-tss-v1_0-3ffb9-simple`` with ``meta.pickle.pbz2`` and one file per architecture."""
    directory = folder / "NATS-tss-v1_0-3ffb9-simple"
    directory.mkdir()
    meta = {**content, "arch2infos": None, "evaluated_indexes": set()}
    files = {"meta": meta} | {f"{index:06d}": info for index, info in content["arch2infos"].items()}
    for name, value in files.items():
        (directory / f"{name}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(value, 4), 1))
    return directory
