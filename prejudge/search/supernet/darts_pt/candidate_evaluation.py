"""The accuracy of a supernet without an operation: many passes over the held-out images that differ in little.

The weights of a supernet suit batches that are normalized by their own statistics, and so does every pass here. Running
statistics would not do: they belong to the mixtures of the training, and would charge a removal with having shifted
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prejudge.engine.random_state import random_states, restore_random_states
from prejudge.search.supernet.darts_pt.projection import HeldOutScore, Removal
from prejudge.spaces.darts.supernet import SupernetDARTS
from prejudge.spaces.nn.supernet import Mixture, Supernet
from prejudge.train.device import DeviceConfig
from prejudge.train.loop import Batches

FAR = 500_000
"""Epochs from here on are no training's: the original's passes draw their order and crops from them."""


class CandidateEvaluation(Protocol):
    """A function that scores a supernet without one operation or edge after the other."""

    def __call__(
        self, supernet: Supernet, mixture: Mixture, removals: Sequence[Removal], passes: int
    ) -> list[HeldOutScore]:
        """Accuracy and loss on the held-out images without each of these alone.

        Args:
            supernet: On the device; it is left in training mode.
            mixture: What runs, of which something is removed.
            removals: What is removed.
            passes: How many there were before in this search.
        """


class RepeatableEvaluation:
    """The same images in the same batches for every removal, not augmented; nothing of the supernet changes.

    Removals are scored together, batch by batch: the cells before the first that one of them touches compute once for
    all of them. In supernets that draw random numbers (``noise`` of S4) every removal starts from the same ones, and
    nothing is shared.

    Args:
        batches: Of epoch 0, which is taken every time.
        device_config: Where to compute.
        share: Whether to compute once what is the same for all removals; the scores are the same either way.
    """

    def __init__(self, batches: Batches, device_config: DeviceConfig, *, share: bool = True) -> None:
        self.batches = batches
        self.device_config = device_config
        self.share = share

    def __call__(
        self, supernet: Supernet, mixture: Mixture, removals: Sequence[Removal], passes: int
    ) -> list[HeldOutScore]:
        candidates = [without(mixture, removal) for removal in removals]
        noisy = any("noise" in edge for edges in supernet.candidates.values() for edge in edges)
        shared = untouched(supernet, {removal.kind for removal in removals}) if self.share and not noisy else []
        tallies = [_Tally(self.device_config) for _ in candidates]
        with _unchanged(supernet), remembered(shared) as forget, torch.inference_mode():
            for number, (images, labels) in enumerate(self.batches.epoch(0)):
                inputs, targets = self.device_config.take(images, labels)
                forget()
                for candidate, tally in zip(candidates, tallies, strict=True):
                    if noisy:
                        torch.manual_seed(number)
                    tally.add(supernet, candidate, inputs, targets)
        return [tally.score() for tally in tallies]


class OriginalEvaluation:
    """As ruocwang/darts-pt scores: augmented images in another order for every removal.

    The passes leave their trace in the running statistics, and random numbers are drawn as they come. The same pass of
    the same search is still the same.

    Args:
        batches: Augmented and shuffled anew in every epoch.
        device_config: Where to compute.
    """

    def __init__(self, batches: Batches, device_config: DeviceConfig) -> None:
        self.batches = batches
        self.device_config = device_config

    def __call__(
        self, supernet: Supernet, mixture: Mixture, removals: Sequence[Removal], passes: int
    ) -> list[HeldOutScore]:
        supernet.train()
        scores = []
        for number, removal in enumerate(removals, start=passes):
            candidate, tally = without(mixture, removal), _Tally(self.device_config)
            with torch.no_grad():
                for images, labels in self.batches.epoch(FAR + number):
                    tally.add(supernet, candidate, *self.device_config.take(images, labels))
            scores.append(tally.score())
        return scores


def without(mixture: Mixture, removal: Removal) -> Mixture:
    """A mixture that lacks an operation, or all of an edge; what stays keeps its weight."""
    edges = list(mixture[removal.kind])
    edges[removal.edge] = tuple(
        term for term in edges[removal.edge] if removal.position is not None and term[0] != removal.position
    )
    return {**mixture, removal.kind: tuple(edges)}


class _Tally:
    """Sums over batches, on the device until they are asked for."""

    def __init__(self, device_config: DeviceConfig) -> None:
        self._device_config = device_config
        exact = torch.float32 if device_config.device.startswith("mps") else torch.float64
        self._sums = torch.zeros(2, dtype=exact, device=device_config.device)
        self._images = 0

    def add(self, supernet: Supernet, mixture: Mixture, inputs: Tensor, targets: Tensor) -> None:
        with self._device_config.autocast():
            logits = supernet(inputs, mixture)
        logits = logits.float()
        hits = (logits.argmax(1) == targets) & logits.isfinite().all(1)
        self._sums += torch.stack([hits.sum(), F.cross_entropy(logits, targets, reduction="sum")]).to(self._sums.dtype)
        self._images += len(targets)

    def score(self) -> HeldOutScore:
        # Over all processes: each has seen its share, and all must decide the same.
        count = torch.full((1,), self._images, dtype=self._sums.dtype, device=self._sums.device)
        hits, loss, images = self._device_config.process_group.sum_(torch.cat([self._sums, count])).tolist()
        return HeldOutScore(100 * hits / images, loss / images)


def untouched(supernet: Supernet, kinds: set[str]) -> list[nn.Module]:
    """The modules of a supernet that come before the first cell of any of these kinds."""
    found: list[nn.Module] = [supernet.get_submodule("stem")]
    if isinstance(supernet, SupernetDARTS):
        for cell, kind in zip(supernet.cells, supernet.kinds, strict=True):
            if kind in kinds:
                break
            found.append(cell)
    return found


@contextmanager
def remembered(modules: Sequence[nn.Module]) -> Iterator[Callable[[], None]]:
    """Within it these modules compute once, whatever they are called with, until the yielded function is called."""
    outputs: dict[nn.Module, Any] = {}

    def once(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def remembering(*inputs: Any) -> Any:
            if module not in outputs:
                outputs[module] = forward(*inputs)
            return outputs[module]

        return remembering

    with ExitStack() as afterwards:
        for module in modules:
            module.forward = once(module, module.forward)
            afterwards.callback(vars(module).pop, "forward")
        yield outputs.clear


@contextmanager
def _unchanged(supernet: Supernet) -> Iterator[None]:
    """Training mode, with the buffers and all random numbers as they were afterwards."""
    states = random_states()
    kept = [(buffer, buffer.clone()) for buffer in supernet.buffers()]
    supernet.train()
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        restore_random_states(states)
