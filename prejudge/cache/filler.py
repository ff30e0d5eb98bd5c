"""Computing the scores that a cache lacks: space → architecture → network → probe → score → cache."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prejudge.cache.protocol import Protocol
from prejudge.cache.shard import Shard
from prejudge.cache.sharing import representatives
from prejudge.engine import Engine, Progress, local_unless
from prejudge.engine.random_state import own_generators
from prejudge.engine.worker import prepare
from prejudge.errors import DeviceError, InputError, check_integer
from prejudge.proxies.registry import ProxyRequest, resolve
from prejudge.proxies.score import Score
from prejudge.spaces.base import Architecture, Space

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.cache.store import ScoreCache
    from prejudge.data.dataset import ImageDataset
    from prejudge.data.probe_batch import Batch
    from prejudge.proxies.passes.memory import Memory


REPEATS_AT_ONCE = 16
"""Repeats of an architecture that run as one network on CUDA, at most: by then launches no longer count."""


def fill(
    cache: ScoreCache,
    space: Space[Any],
    archs: Iterable[Architecture | str],
    data: ImageDataset,
    proxies: Sequence[str | ProxyRequest],
    *,
    workers: int = 1,
    batch_size: int = 64,
    repeats: int = 1,
    seed: int = 0,
    macro: dict[str, Any] | None = None,
    mode: Literal["exact", "fast"] = "exact",
    device: str | None = None,
    batch: Literal["fixed", "per-architecture"] = "fixed",
    augment: bool = False,
    share_classes: bool = False,
    retry_failed: bool = False,
    shard: Shard | None = None,
    engine: Engine | None = None,
    repeats_at_once: int | None = None,
    progress: Progress | None = None,
) -> Protocol:
    """Compute what the cache lacks; every architecture's scores are saved as soon as they are there.

    Repeat r builds the network with torch's CPU generator seeded with ``seed + r`` (the same for every architecture, so
    that equal architectures get equal weights), draws the batch with seed ``seed + r``, and gives the proxies' own
    draws that seed too. The caller's generators are left alone. The scores do not depend on the workers, only (in the
    last digits) on the threads of each: of local ones, this process's torch threads divided by their number.

    An architecture that cannot be built or scored gets failed scores with the reason. After Ctrl-C, a crash or a full
    disk, calling again goes on where it stopped.

    Args:
        cache: Open for writing.
        space: The search space.
        archs: Architectures or their texts.
        data: The images that the batches are drawn from.
        proxies: Names, ``NAME(option=value)`` or ``FILE.py:NAME``.
        workers: Number of processes of this machine.
        batch_size: Images per batch.
        repeats: How many times, each with other weights and another batch.
        seed: Base seed.
        macro: Fields of the macro-architecture other than the space's defaults; classes and channels follow the data.
        mode: ``"exact"`` or ``"fast"``.
        device: Where to score; networks and batches are made on the CPU in any case.
        batch: One batch for all architectures, or one for each, drawn from the seed and the architecture's text.
        augment: Whether batches are cropped and flipped at random.
        share_classes: Compute proxies that are declared invariant to dead edges once per class of equivalent
            architectures, for the class's representative; ``frame(space=space, expand=True)`` gives the value to the
            other members. All other proxies are computed for each architecture.
        retry_failed: Try again what failed before.
        shard: Compute only this part; the caches of all parts together, merged, are the cache of the whole.
        engine: Where to compute, in place of ``workers`` processes; e.g. :class:`~prejudge.engine.RayEngine`.
        repeats_at_once: How many repeats of an architecture run as one network, at most; default: some on CUDA, where
            launches are the cost, and one elsewhere. Their scores are the same but for rounding. Then an architecture's
            repeats follow each other in the run, where else the first repeat of all comes before the second of any.
        progress: Told after each architecture.

    Returns:
        The protocol, which selects these scores in the cache.

    Raises:
        InputError: An unknown proxy, macro field or device, a batch larger than the data or too small for a proxy.
        PrejudgeError: A worker died, the engine cannot be had, or the cache cannot be written. What was computed before
            is kept.
    """
    engine = local_unless(engine, workers)
    requests = resolve(proxies)
    repeats, batch_size = check_integer("repeats", repeats), check_integer("batch_size", batch_size)
    repeats_at_once = None if repeats_at_once is None else check_integer("repeats_at_once", repeats_at_once)
    seed = check_integer("seed", seed, least=0)
    for request in requests:
        if batch_size < request.proxy.min_batch:
            least = request.proxy.min_batch
            raise InputError(f"{request.proxy.name} needs a batch of at least {least} images, not {batch_size}")
    if batch_size > len(data):
        raise InputError(f"a batch of {batch_size} images cannot be drawn from the {len(data)} of {data.name}")
    if device is not None and not engine.elsewhere:
        from prejudge.engine.device import find_device

        find_device(device)  # else every single score would fail for it
    chosen = [space.parse(arch) for arch in archs]
    protocol = Protocol(
        space=space.name,
        macro=tuple(_resolved_macro(space, macro or {}, data).items()),
        data=data.name,
        data_digest=data.digest,
        mean=tuple(data.mean),
        std=tuple(data.std),
        image_size=data.image_size,
        batch_size=batch_size,
        batch=batch,
        augment=augment,
        init=space.initialization,
        mode=mode,
        seed=seed,
    )
    for request in requests:
        cache.declare(protocol, str(request), declaration(request))
    shared = [str(r) for r in requests if share_classes and r.proxy.invariant_to_dead_edges]
    single = [str(r) for r in requests if str(r) not in shared]
    wanted = [(shared, representatives(space, chosen) if shared else []), (single, chosen)]
    if shard is not None:
        mine = shard.of(str(arch) for _, archs in wanted for arch in archs)
        wanted = [(columns, [arch for arch in archs if str(arch) in mine]) for columns, archs in wanted]
    at_once = repeats_at_once or (REPEATS_AT_ONCE if str(device).startswith("cuda") else 1)
    jobs = _missing_jobs(cache, protocol, wanted, repeats, retry_failed, at_once)
    if not jobs:
        return protocol
    scorer = Scorer(space, data, protocol, _spellings(proxies, requests, engine), device)
    with engine:
        _compute(cache, scorer, jobs, engine, progress, at_once)
    return protocol


def declaration(request: ProxyRequest) -> dict[str, Any]:
    """The declaration of a proxy as plain values, kept with its column: reading them needs no torch."""
    proxy = request.proxy
    return {
        "proxy": proxy.name,
        "version": proxy.version,
        "reference": proxy.reference,
        "summary": proxy.summary,
        "reads": list(proxy.reads),
        "options": {name: _plain(value) for name, value in request.options},
        "higher_is_better": proxy.higher_is_better,
        "needs_labels": proxy.needs_labels,
        "deterministic": proxy.deterministic,
        "invariant_to_dead_edges": proxy.invariant_to_dead_edges,
        "min_batch": proxy.min_batch,
    }


@dataclass(frozen=True)
class Job:
    """The columns that one architecture lacks, for one repeat or for several that lack the same."""

    architecture: str
    repeats: tuple[int, ...]
    columns: tuple[str, ...]

    def __str__(self) -> str:
        several = "s" if len(self.repeats) > 1 else ""
        return f"{self.architecture} (repeat{several} {', '.join(map(str, self.repeats))})"


@dataclass
class Scorer:
    """Scores jobs, in this process or in a worker.

    Attributes:
        space: The search space.
        data: The images.
        protocol: The protocol.
        proxies: For each column the proxy as the user wrote it, for a worker to resolve, or already resolved.
        device: Where to score.
    """

    space: Space[Any]
    data: ImageDataset
    protocol: Protocol
    proxies: dict[str, str | ProxyRequest]
    device: str | None = None
    _batches: dict[int, Batch] = field(default_factory=dict, repr=False)
    _on_device: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def _requests(self) -> dict[str, ProxyRequest]:
        return {column: resolve([proxy])[0] for column, proxy in self.proxies.items()}

    @cached_property
    def _memory(self) -> Memory:
        from prejudge.engine.device import find_device
        from prejudge.proxies.passes.memory import Memory

        return Memory(find_device(self.device or "cpu"))

    def __call__(self, job: Job) -> list[dict[str, Score]]:
        """For each repeat of a job the scores of its columns; whatever goes wrong with a network makes them failed."""
        from prejudge.engine.device_errors import raise_if_device_failed
        from prejudge.engine.torch_state import standard_torch_state

        try:
            with standard_torch_state(self.device):
                found = self._scores(job)
        except Exception as error:  # one architecture must not cost the others
            try:
                raise_if_device_failed(error, self.device or "cpu")
            except DeviceError as failed:
                hint = "finished results are kept, run again to go on"
                raise DeviceError(f"{failed} while it scored {job}; {hint}") from error
            if len(job.repeats) > 1:  # nor one repeat the others
                return [scores for repeat in job.repeats for scores in self(replace(job, repeats=(repeat,)))]
            return [dict.fromkeys(job.columns, Score.failed(f"{type(error).__name__}: {error}"))]
        return [{c: scores.get(c, Score.failed("the scoring gave no value")) for c in job.columns} for scores in found]

    def _scores(self, job: Job) -> list[dict[str, Score]]:
        from prejudge.proxies.scoring import score_repeats

        networks, inputs, targets = [], [], []
        for repeat, batch in zip(job.repeats, self.batches(job), strict=True):
            with own_generators(self.protocol.seed + repeat):
                networks.append(self.space.network(self.space.parse(job.architecture), **dict(self.protocol.macro)))
            inputs.append(self._resident(repeat, batch))
            targets.append(batch.targets)  # a few numbers, which are checked where they are cheap to read
        return score_repeats(
            networks,
            inputs,
            targets,
            [self._requests[column] for column in job.columns],
            mode=self.protocol.mode,
            device=self.device,
            seeds=[self.protocol.seed + repeat for repeat in job.repeats],
            memory=self._memory,
        )

    def batches(self, job: Job) -> list[Batch]:
        """The batches of a job: by repeat, and by architecture where the protocol says so."""
        from prejudge.data.probe_batch import batch

        p = self.protocol
        if p.batch == "per-architecture":
            keys = (f"{p.seed + repeat} {job.architecture}".encode() for repeat in job.repeats)
            seeds = [int.from_bytes(hashlib.sha256(key).digest()[:6], "big") for key in keys]
            return [batch(self.data, p.batch_size, seed=seed, augment=p.augment) for seed in seeds]
        known, self._batches = self._batches, {}  # jobs come with the same repeats for long: these are enough
        for r in job.repeats:
            drawn = known.get(r)
            if drawn is None:
                drawn = batch(self.data, p.batch_size, seed=p.seed + r, augment=p.augment)
            self._batches[r] = drawn
        self._on_device = {r: x for r, x in self._on_device.items() if r in self._batches}
        return list(self._batches.values())

    def _resident(self, repeat: int, batch: Batch) -> Tensor:
        """The images of a batch where they are to be scored, moved there once if other architectures share them."""
        if self.device is None or self.protocol.batch == "per-architecture":
            return batch.inputs
        if repeat not in self._on_device:
            self._on_device[repeat] = batch.inputs.to(self.device)
        return self._on_device[repeat]


def _resolved_macro(space: Space[Any], given: dict[str, Any], data: ImageDataset) -> dict[str, Any]:
    space.macro(**given)  # an unknown number is said before those that are wrong
    fitting = {"num_classes": data.num_classes, "in_channels": data.in_channels}
    resolved = space.default_macro | {k: v for k, v in fitting.items() if k in space.default_macro} | given
    channels, classes = resolved.get("in_channels", data.in_channels), resolved.get("num_classes", data.num_classes)
    if channels != data.in_channels:
        raise InputError(f"{data.name} has {data.in_channels} channels; in_channels={channels} does not fit")
    if classes < data.num_classes:
        raise InputError(f"{data.name} has {data.num_classes} classes; num_classes={classes} is too few")
    space.macro(**resolved)  # a wrong macro field is the caller's error, not each network's failure
    return resolved


def _missing_jobs(
    cache: ScoreCache,
    protocol: Protocol,
    wanted: Iterable[tuple[Sequence[str], Sequence[Architecture]]],
    repeats: int,
    retry_failed: bool,
    at_once: int,
) -> list[Job]:
    """Jobs repeat by repeat, so that an interrupted run has the first repeat of as many as possible.

    Where several repeats run at once, the first ones of all architectures come before the next ones of any.
    """
    columns: dict[tuple[str, int], tuple[str, ...]] = {}
    for names, archs in wanted:
        for text, repeat, missing in cache.missing(protocol, archs, names, repeats, retry_failed=retry_failed):
            columns[text, repeat] = columns.get((text, repeat), ()) + missing
    together: dict[tuple[str, int, tuple[str, ...]], list[int]] = {}
    for (text, repeat), missing in sorted(columns.items(), key=lambda item: item[0][1]):
        together.setdefault((text, repeat // at_once, missing), []).append(repeat)
    jobs = [Job(text, tuple(found), missing) for (text, _, missing), found in together.items()]
    return sorted(jobs, key=lambda job: job.repeats[0] // at_once)


def _spellings(
    proxies: Sequence[str | ProxyRequest], requests: Sequence[ProxyRequest], engine: Engine
) -> dict[str, str | ProxyRequest]:
    """For each column what its scorer resolves; another process can only be sent the text, with its ``FILE.py:``."""
    if engine.in_process:
        return {str(request): request for request in requests}
    return {str(resolve([proxy])[0]): str(proxy) for proxy in proxies}


def _compute(
    cache: ScoreCache, scorer: Scorer, jobs: Sequence[Job], engine: Engine, progress: Progress | None, at_once: int
) -> None:
    import torch

    first = scorer.batches(jobs[0])[0]  # a batch that cannot be drawn is the caller's error too
    threads = engine.threads(torch.get_num_threads())
    environment = _environment(scorer.device, threads, engine) | {"first batch": first.digest}
    run = cache.begin_run(environment | ({"repeats at once": at_once} if at_once > 1 else {}))
    start = time.perf_counter()
    results = engine.run(
        scorer,
        jobs,
        initializer=None if engine.in_process else prepare,
        initargs=(threads, scorer.device if engine.elsewhere else None),
    )
    done, total = 0, sum(len(job.repeats) for job in jobs)
    with closing(results):
        for job, found in results:
            for repeat, scores in zip(job.repeats, found, strict=True):
                cache.put(scorer.protocol, job.architecture, scores, repeat=repeat, run=run)
                done += 1
                if progress is not None:
                    progress(done, total, time.perf_counter() - start)


def _environment(device: str | None, threads: int, engine: Engine) -> dict[str, Any]:
    """Everything that may change the last digits of a score, and its cost."""
    import torch

    name = str(device or "cpu")
    if name.startswith("cuda") and not engine.elsewhere:
        name = f"{name} ({torch.cuda.get_device_name(name)})"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} logical CPUs"
    return {
        "device": name,
        **({} if engine.elsewhere else {"machine": machine}),
        "threads": threads,
        **engine.describe(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
