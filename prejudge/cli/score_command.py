"""``prejudge score``: compute the scores that a cache does not have yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter, validators

from prejudge.cli import output
from prejudge.cli.arguments import architectures, pairs, split_list
from prejudge.cli.progress import ProgressBar
from prejudge.cli.recipe import Recipe

app = App(
    name="score",
    help_epilogue=(
        "Example: prejudge score nasbench201 --data digits --archs random:100 --proxies synflow,naswot --out scores.h5"
    ),
)

_NETWORK = Group("Network (the published macro-skeleton if left out)", sort_key=1)
_BATCH = Group("Batch and repeats", sort_key=2)
_MACHINE = Group("Machine", sort_key=3)
_Positive = validators.Number(gte=1)


@app.default
def score(
    space: str,
    *,
    data: str,
    out: Path,
    archs: str = "all",
    proxies: str | None = None,
    data_dir: Path | None = None,
    download: bool = False,
    recipe: Recipe = None,
    form: Annotated[str | None, Parameter(group=_NETWORK)] = None,
    channels: Annotated[int | None, Parameter(group=_NETWORK)] = None,
    cells: Annotated[int | None, Parameter(group=_NETWORK)] = None,
    skeleton: Annotated[list[str] | None, Parameter(group=_NETWORK)] = None,
    split: Annotated[str, Parameter(group=_BATCH)] = "train",
    normalisation: Annotated[str | None, Parameter(group=_BATCH)] = None,
    batch_size: Annotated[int, Parameter(group=_BATCH, validator=_Positive)] = 64,
    batch: Annotated[Literal["fixed", "per-architecture"], Parameter(group=_BATCH)] = "fixed",
    augment: Annotated[bool, Parameter(group=_BATCH)] = False,
    repeats: Annotated[int, Parameter(group=_BATCH, validator=_Positive)] = 1,
    seed: Annotated[int, Parameter(group=_BATCH, validator=validators.Number(gte=0))] = 0,
    mode: Annotated[Literal["exact", "fast"], Parameter(group=_MACHINE)] = "exact",
    device: Annotated[str | None, Parameter(group=_MACHINE)] = None,
    workers: Annotated[int, Parameter(group=_MACHINE, validator=_Positive)] = 1,
    threads: Annotated[int | None, Parameter(group=_MACHINE, validator=_Positive)] = None,
    as_json: output.Json = False,
) -> None:
    """Score untrained architectures of a space; only what the cache lacks is computed.

    Args:
        space: Search space, e.g. nasbench201 (see: prejudge list spaces).
        data: Images of the batch: digits, cifar10, cifar100, svhn, imagenet16-120, imagenet, npz:FILE or folder:DIR.
        out: Score cache (HDF5); an existing one is continued.
        archs: Which architectures: all, unique (one of each class of equivalents), random:N, or a file with one a line.
        proxies: Comma-separated names, NAME(option=value) or FILE.py:NAME; all cheap ones if left out.
        data_dir: Folder with the files of a named data set.
        download: Fetch a named data set that is not there yet.
        recipe: YAML file that fills in what is left out here.
        form: Network form of the space, e.g. official or zero-cost-nas.
        channels: Width of the first stage.
        cells: Cells per stage.
        skeleton: Any other macro number: NAME=VALUE.
        split: Split of the data that batches are drawn from.
        normalisation: Published mean and deviation to use, e.g. cifar10; the data's own, or those published for it.
        batch_size: Images in the batch.
        batch: One fixed batch for all architectures, or a fresh one for each.
        augment: Crop and flip the images at random, as in training.
        repeats: Scores per architecture, each with another initialisation and batch.
        seed: Of initialisations, batches and random:N.
        mode: exact, or fast (bf16: approximate).
        device: cpu, cuda, cuda:1, mps …; the CPU if left out.
        workers: Processes.
        threads: Threads of all processes together.
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache, fill
    from prejudge.proxies import resolve
    from prejudge.proxies.registry import default_names
    from prejudge.spaces import space as find_space

    where = find_space(space)
    shared = archs == "unique"
    chosen = architectures(where, "all" if shared else archs, seed=seed)
    names = split_list(proxies) if proxies is not None else default_names()
    columns = [str(request) for request in resolve(names)]
    numbers = {"form": form, "channels": channels, "cells": cells}
    overrides = {k: v for k, v in numbers.items() if v is not None} | pairs(skeleton or [])
    where.skeleton(**overrides)  # a wrong macro number is said before anything is loaded

    from prejudge.train.data import load

    images = load(data, split=split, data_dir=data_dir, download=download, normalisation=normalisation)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with ScoreCache(out) as cache, ProgressBar("scoring", quiet=as_json) as bar:
        protocol = fill(
            cache,
            where,
            chosen,
            images,
            names,
            workers=workers,
            batch_size=batch_size,
            repeats=repeats,
            seed=seed,
            skeleton=overrides,
            mode=mode,
            device=device,
            batch=batch,
            augment=augment,
            share_classes=shared,
            progress=bar,
        )
        content = next(p for p in cache.info()["protocols"] if p["protocol"] == protocol.digest)
    summary = {name: content["columns"][name] for name in columns}
    if as_json:
        output.print_json({"file": str(out), "protocol": protocol.digest, "computed": bar.done, "columns": summary})
        return
    output.print_columns(f"{out}, protocol {protocol.digest}", summary)
    output.say(f"{bar.done} architectures scored now" if bar.done else "nothing to compute: the cache had every score")
    output.say(f"next: prejudge report {out} --benchmark TABLE --out report.html   (tables: prejudge list benchmarks)")
