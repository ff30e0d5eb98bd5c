"""Scoring the jobs of a fill: architecture → network → probe → score, in this process or in a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prejudge.cache.initialization import initialize
from prejudge.cache.protocol import Protocol
from prejudge.engine.random_state import own_generators
from prejudge.engine.worker import prepare
from prejudge.errors import DeviceError
from prejudge.proxies.registry import ProxyRequest, resolve_unchanged
from prejudge.proxies.score import Score
from prejudge.spaces.base import Space

if TYPE_CHECKING:
    from torch import Tensor

    from prejudge.data.dataset import ImageDataset
    from prejudge.data.probe_batch import Batch
    from prejudge.proxies.passes.memory import Memory


_DIGITS = ":digits"


def digits_column(column: str) -> str:
    """The name of the column that holds how many digits of a column's scores mean anything."""
    return f"{column}{_DIGITS}"


@dataclass(frozen=True)
class Job:
    """The columns that one architecture lacks, for one repeat or for several that lack the same."""

    architecture: str
    repeats: tuple[int, ...]
    columns: tuple[str, ...]

    def __str__(self) -> str:
        several = "s" if len(self.repeats) > 1 else ""
        return f"{self.architecture} (repeat{several} {', '.join(map(str, self.repeats))})"


def prepare_scoring(threads: int, device: str | None = None) -> None:
    """Set up a worker, and import what every job needs, so that no job's time counts it."""
    import prejudge.data.probe_batch
    import prejudge.proxies.scoring  # noqa: F401

    prepare(threads, device)


@dataclass
class Scorer:
    """Scores jobs, in this process or in a worker.

    Attributes:
        space: The search space.
        data: The images.
        protocol: The protocol.
        proxies: For each column the proxy as the user wrote it, for a worker to resolve, or already resolved.
        definitions: For each column the digest of the proxy's source.
        device: Where to score.
    """

    space: Space[Any]
    data: ImageDataset
    protocol: Protocol
    proxies: dict[str, str | ProxyRequest]
    definitions: dict[str, str]
    device: str | None = None
    _batches: dict[int, Batch] = field(default_factory=dict, repr=False)
    _on_device: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def _requests(self) -> dict[str, ProxyRequest]:
        return {column: resolve_unchanged(proxy, self.definitions[column]) for column, proxy in self.proxies.items()}

    @cached_property
    def _memory(self) -> Memory:
        from prejudge.engine.device import find_device
        from prejudge.proxies.passes.memory import Memory

        return Memory(find_device(self.device or "cpu"))

    def __call__(self, job: Job) -> list[dict[str, Score]]:
        """For each repeat of a job the scores of its columns; whatever goes wrong with a network makes them failed.

        Raises:
            DeviceError: The device has failed; nothing of this job is stored.
            PrejudgeError: The source of a proxy is not the one that the fill was planned with.
        """
        from prejudge.engine.device_errors import raise_if_device_failed
        from prejudge.engine.torch_state import standard_torch_state

        requests = list({str(request): request for request in (self._requests[c] for c in job.columns)}.values())
        try:
            with standard_torch_state(self.device):
                found = self._scores(job, requests)
        except Exception as error:  # one architecture must not cost the others
            try:
                raise_if_device_failed(error, self.device or "cpu")
            except DeviceError as failed:
                hint = "finished results are kept, run again to go on"
                raise DeviceError(f"{failed} while it scored {job}; {hint}") from error
            if len(job.repeats) > 1:  # nor one repeat the others
                return [scores for repeat in job.repeats for scores in self(replace(job, repeats=(repeat,)))]
            return [dict.fromkeys(job.columns, Score.failed(f"{type(error).__name__}: {error}"))]
        return [{column: _score_of(column, scores) for column in job.columns} for scores in found]

    def _scores(self, job: Job, requests: list[ProxyRequest]) -> list[dict[str, Score]]:
        from prejudge.proxies.scoring import score_repeats

        networks, inputs, targets = [], [], []
        for repeat, batch in zip(job.repeats, self.batches(job), strict=True):
            with own_generators(self.protocol.seed + repeat):
                network = self.space.network(self.space.parse(job.architecture), **dict(self.protocol.macro))
                initialize(network, self.protocol.init_weights, self.protocol.init_biases)
                networks.append(network)
            inputs.append(self._resident(repeat, batch))
            targets.append(batch.targets)  # a few numbers, which are checked where they are cheap to read
        return score_repeats(
            networks,
            inputs,
            targets,
            requests,
            mode=self.protocol.mode,
            device=self.device,
            seeds=[self.protocol.seed + repeat for repeat in job.repeats],
            memory=self._memory,
            digits=any(column.endswith(_DIGITS) for column in job.columns),
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
                drawn = batch(
                    self.data, p.batch_size, seed=p.seed + r, augment=p.augment, balanced=p.batch == "balanced"
                )
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


def _score_of(column: str, scores: Mapping[str, Score]) -> Score:
    name = column.removesuffix(_DIGITS)
    score = scores.get(name, Score.failed("the scoring gave no value"))
    if name == column:
        return score
    if score.digits is None:
        return Score.failed(score.reason or (score.remarks or ("its digits are not known",))[-1])
    return Score(score.digits)
