"""Computing the scores that a cache lacks: space → architecture → network → probe → score → cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prejudge.cache.job_queue import JobQueue
from prejudge.cache.protocol import Protocol
from prejudge.cache.scorer import Job, Scorer, digits_column, prepare_scoring
from prejudge.cache.shard import Shard
from prejudge.cache.sharing import representatives
from prejudge.engine import OVERDUE, Engine, LocalEngine, Progress, local_unless
from prejudge.errors import InputError, check_integer, unknown
from prejudge.proxies.registry import ProxyRequest, resolve
from prejudge.spaces.base import Architecture, Space

if TYPE_CHECKING:
    from prejudge.cache.store import ScoreCache
    from prejudge.data.dataset import ImageDataset


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
    batch: Literal["fixed", "balanced", "per-architecture"] = "fixed",
    augment: bool = False,
    init_weights: str = "default",
    init_biases: str = "default",
    share_classes: bool = False,
    retry_failed: bool = False,
    rescore: bool | Sequence[str] = False,
    shard: Shard | None = None,
    engine: Engine | None = None,
    timeout: float | None = None,
    repeats_at_once: int | None = None,
    digits: bool = False,
    progress: Progress | None = None,
) -> Protocol:
    """Compute what the cache lacks; every architecture's scores are saved as soon as they are there.

    Repeat r builds the network with torch's CPU generator seeded with ``seed + r`` (the same for every architecture, so
    that equal architectures get equal weights), draws the batch with seed ``seed + r``, and gives the proxies' own
    draws that seed too. The caller's generators are left alone. The scores do not depend on the workers, only (in the
    last digits) on the threads of each: of local ones, this process's torch threads divided by their number.

    An architecture that cannot be built or scored gets failed scores with the reason. After Ctrl-C, a crash or a full
    disk, calling again goes on where it stopped.

    The columns of third-party proxies hold the digest of their source: that of the file for ``FILE.py:NAME``, and of
    all local modules that it imports. Where it differs, a warning says so, the scores are kept as ``NAME@DIGEST`` and
    computed anew (:meth:`ScoreCache.declare`). Failed scores of third-party proxies are always tried again.

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
        batch: One batch for all architectures (``"balanced"``: with as many images of each class), or one for each,
            drawn from the seed and the architecture's text.
        augment: Whether batches are cropped and flipped at random.
        init_weights: How weights of convolutions and linear layers are drawn anew, one of
            :data:`prejudge.cache.initialization.WEIGHTS`; as the space's networks are built by default.
        init_biases: How their biases are, one of :data:`prejudge.cache.initialization.BIASES`.
        share_classes: Compute proxies that are declared invariant to dead edges once per class of equivalent
            architectures, for the class's representative; ``frame(space=space, expand=True)`` gives the value to the
            other members. All other proxies are computed for each architecture.
        retry_failed: Try again what failed before.
        rescore: Compute what is asked for anew, all of it or the scores of the proxies or columns that are named; a
            score stays until the new one, which may be a failed one, takes its place. After an interruption the same
            call goes on.
        shard: Compute only this part; the caches of all parts together, merged, are the cache of the whole.
        engine: Where to compute, in place of ``workers`` processes; e.g. :class:`~prejudge.engine.RayEngine`.
        timeout: Seconds that an architecture may take; after that its process is killed, its proxies are tried one by
            one, and those that take so long alone get failed scores. With one worker the scoring then runs in a process
            of its own.
        repeats_at_once: How many repeats of an architecture run as one network, at most; default: some on CUDA, where
            launches are the cost, and one elsewhere. Their scores are the same but for rounding. Then an architecture's
            repeats follow each other in the run, where else the first repeat of all comes before the second of any.
        digits: Keep in a column ``NAME:digits`` how many decimal digits of each score a second computation in float64
            confirms (:attr:`Score.digits`); the scores are the same without it.
        progress: Told after each architecture.

    Returns:
        The protocol, which selects these scores in the cache.

    Raises:
        InputError: An unknown proxy, macro field or device, a batch larger than the data or too small for a proxy, or a
            module of a proxy that has changed since this process imported it.
        PrejudgeError: A worker died, the source of a proxy changed meanwhile, the engine cannot be had, or the cache
            cannot be written. What was computed before is kept.
    """
    if timeout is not None:
        if engine is not None:
            raise InputError("give timeout or an engine, not both; a LocalEngine has a timeout of its own")
        engine, workers = LocalEngine(workers, timeout), 1
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
        init_weights=init_weights,
        init_biases=init_biases,
        mode=mode,
        seed=seed,
    )
    for request in requests:
        cache.declare(protocol, str(request), declaration(request))
        if digits:
            about = {"digits_of": str(request), "higher_is_better": True}
            cache.declare(protocol, digits_column(str(request)), declaration(request) | about)

    def columns_of(names: Iterable[str]) -> list[str]:
        return [column for name in names for column in ((name, digits_column(name)) if digits else (name,))]

    shared = [str(r) for r in requests if share_classes and r.invariant_to_dead_edges]
    single = [str(r) for r in requests if str(r) not in shared]
    wanted = [(columns_of(shared), representatives(space, chosen) if shared else []), (columns_of(single), chosen)]
    if shard is not None:
        mine = shard.of(str(arch) for _, archs in wanted for arch in archs)
        wanted = [(columns, [arch for arch in archs if str(arch) in mine]) for columns, archs in wanted]
    at_once = repeats_at_once or (REPEATS_AT_ONCE if str(device).startswith("cuda") else 1)
    retried = set(columns_of(str(r) for r in requests if retry_failed or not r.proxy.built_in))
    anew = frozenset(columns_of(_columns_of(requests, rescore)))
    plan = _Plan(protocol, wanted, repeats, retried, at_once, anew)
    since = plan.first_run(cache) if rescore else 0
    jobs = plan.jobs(cache, since)
    if not jobs:
        return protocol
    definitions = {c: request.proxy.definition for request in requests for c in columns_of([str(request)])}
    spellings = {c: s for name, s in _spellings(proxies, requests, engine).items() for c in columns_of([name])}
    scorer = Scorer(space, data, protocol, spellings, definitions, device)
    with engine:
        _compute(
            cache, scorer, jobs, engine, progress, at_once, {"rescore": plan.digest, "since": since} if rescore else {}
        )
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
        "invariant_to_dead_edges": request.invariant_to_dead_edges,
        "min_batch": proxy.min_batch,
        **({} if proxy.built_in else {"source": proxy.definition}),
    }


def _resolved_macro(space: Space[Any], given: dict[str, Any], data: ImageDataset) -> dict[str, Any]:
    space.macro(**given)  # an unknown number is said before those that are wrong
    fitting = {"num_classes": data.num_classes, "in_channels": data.in_channels, "image_size": data.image_size}
    resolved = space.default_macro | {k: v for k, v in fitting.items() if k in space.default_macro} | given
    channels, classes = resolved.get("in_channels", data.in_channels), resolved.get("num_classes", data.num_classes)
    if channels != data.in_channels:
        raise InputError(f"{data.name} has {data.in_channels} channels; in_channels={channels} does not fit")
    if classes < data.num_classes:
        raise InputError(f"{data.name} has {data.num_classes} classes; num_classes={classes} is too few")
    side = resolved.get("image_size", data.image_size)
    if side != data.image_size:
        raise InputError(f"{data.name} has images of side {data.image_size}; image_size={side} does not fit")
    space.macro(**resolved)  # a wrong macro field is the caller's error, not each network's failure
    return resolved


@dataclass(frozen=True)
class _Plan:
    """The scores that a fill is asked for.

    Attributes:
        protocol: Their protocol.
        wanted: Columns, and the architectures that are to have them.
        repeats: How many of each.
        retried: The columns whose failed scores are tried again.
        at_once: Repeats that are scored as one network, at most.
        anew: The columns that are computed anew.
    """

    protocol: Protocol
    wanted: Sequence[tuple[Sequence[str], Sequence[Architecture]]]
    repeats: int
    retried: set[str]
    at_once: int
    anew: frozenset[str]

    def jobs(self, cache: ScoreCache, first_run: int) -> list[Job]:
        """Jobs repeat by repeat, so that an interrupted run has the first repeat of as many as possible.

        Where several repeats run at once, the first ones of all architectures come before the next ones of any.

        Args:
            cache: Whose scores need not be computed.
            first_run: Scores of earlier runs are computed nonetheless, in the columns that are computed anew.
        """
        columns: dict[tuple[str, int], tuple[str, ...]] = {}
        for names, archs in self.wanted:
            for retry, anew in product((False, True), repeat=2):
                group = [name for name in names if (name in self.retried, name in self.anew) == (retry, anew)]
                for text, repeat, missing in cache.missing(
                    self.protocol, archs, group, self.repeats, retry_failed=retry, first_run=first_run if anew else 0
                ):
                    columns[text, repeat] = columns.get((text, repeat), ()) + missing
        together: dict[tuple[str, int, tuple[str, ...]], list[int]] = {}
        for (text, repeat), missing in sorted(columns.items(), key=lambda item: item[0][1]):
            together.setdefault((text, repeat // self.at_once, missing), []).append(repeat)
        jobs = [Job(text, tuple(found), missing) for (text, _, missing), found in together.items()]
        return sorted(jobs, key=lambda job: job.repeats[0] // self.at_once)

    @property
    def digest(self) -> str:
        """Names this plan in the runs that compute it anew."""
        wanted = [[sorted(names), sorted(map(str, archs))] for names, archs in self.wanted]
        return hashlib.sha256(
            json.dumps([self.protocol.digest, wanted, self.repeats, sorted(self.anew)]).encode()
        ).hexdigest()[:16]

    def first_run(self, cache: ScoreCache) -> int:
        """The first run that counts for computing this plan anew: of the attempt that was interrupted, or the next."""
        runs = cache.runs()
        for run in reversed(runs):
            since = run.get("since")
            if run.get("rescore") == self.digest and isinstance(since, int):
                return since if self.jobs(cache, since) else len(runs)
        return len(runs)


def _columns_of(requests: Sequence[ProxyRequest], rescore: bool | Sequence[str]) -> frozenset[str]:
    """The columns that are computed anew; raises :class:`InputError` for a name that is none of this run's."""
    known = {name for request in requests for name in (str(request), request.proxy.name)}
    names = known if rescore is True else set() if rescore is False else set(rescore)
    for name in names - known:
        raise unknown("proxy of this run to compute anew", name, known)
    return frozenset(str(r) for r in requests if names & {str(r), r.proxy.name})


def _spellings(
    proxies: Sequence[str | ProxyRequest], requests: Sequence[ProxyRequest], engine: Engine
) -> dict[str, str | ProxyRequest]:
    """For each column what its scorer resolves; another process can only be sent the text, with its ``FILE.py:``."""
    if engine.in_process:
        return {str(request): request for request in requests}
    return {str(resolve([proxy])[0]): str(proxy) for proxy in proxies}


def _compute(
    cache: ScoreCache, scorer: Scorer, jobs: Sequence[Job], engine: Engine, progress: Progress | None, at_once: int,
    marks: dict[str, Any],
) -> None:  # fmt: skip
    import torch

    from prejudge.engine.torch_state import standard_torch_state

    with standard_torch_state(scorer.device):
        first = scorer.batches(jobs[0])[0]  # a batch that cannot be drawn is the caller's error too
    threads = engine.threads(torch.get_num_threads())
    environment = _environment(scorer.device, threads, engine) | {"first batch": first.digest}
    run = cache.begin_run(environment | ({"repeats at once": at_once} if at_once > 1 else {}) | marks)
    start, queue = time.perf_counter(), JobQueue(jobs)
    results = engine.run(
        scorer,
        jobs if engine.timeout is None else queue.jobs(),
        initializer=None if engine.in_process else prepare_scoring,
        initargs=(threads, scorer.device if engine.elsewhere else None),
    )
    done = 0
    with closing(results):
        for job, found in results:
            if found is OVERDUE:
                found = queue.given_up(job, engine.timeout)
            else:
                queue.finished += 1
            if not found:
                continue
            for repeat, scores in zip(job.repeats, found, strict=True):
                cache.put(scorer.protocol, job.architecture, scores, repeat=repeat, run=run)
                done += 1
                if progress is not None:
                    progress(done, queue.total, time.perf_counter() - start)


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
