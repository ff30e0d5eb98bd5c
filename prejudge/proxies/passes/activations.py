"""Activation patterns: which units are on for each image, and the similarity of the images' patterns.

A torch function mode sees every ReLU, whether it is an ``nn.ReLU`` or ``F.relu`` inside some forward, before an
in-place one overwrites its input.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import add_gram, by_repeat
from prejudge.proxies.network.operations import Observation
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.quantities import Quantity
from prejudge.proxies.score import ScoreFailure

ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        F.relu,
        F.relu_,
        torch.relu,
        torch.relu_,
        Tensor.relu,
        Tensor.relu_,
        F.relu6,
        F.leaky_relu,
        F.leaky_relu_,
        F.threshold,
        F.prelu,
    }
)

KERNELS: tuple[Quantity, ...] = ("activation_kernel", "preactivation_kernel")


def _rows(x: Tensor, place: Placement) -> Tensor:
    """``(N, F)`` without a copy in either memory format; the order of features is the same for every image."""
    if place != IMAGES_FIRST:
        return place.first(x).flatten(1)
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)


_FEATURES_AT_ONCE = 8192  # a block of this width and its copies stay in a CPU's cache


def _kernels(rows: Tensor, wanted: list[Quantity]) -> dict[Quantity, Tensor]:
    """All wanted kernels ``(R, N, N)`` of one ReLU's input ``(R, N, F)``, block by block of features.

    The binary kernel is Mellor's A A^T + (1-A)(1-A)^T with A = [input > 0], from one product: 2 A A^T - a_i - a_j + F.
    """
    repeats, n, features = rows.shape
    both = torch.zeros(repeats, n, n, device=rows.device)
    raw = torch.zeros(repeats, n, n, device=rows.device, dtype=torch.promote_types(rows.dtype, torch.float32))
    width = _FEATURES_AT_ONCE if rows.device.type == "cpu" else features
    for start in range(0, features, width):
        block = rows[..., start : start + width]
        if "activation_kernel" in wanted:
            add_gram(both, (block > 0).float())  # exact: counts stay below 2^24
        if "preactivation_kernel" in wanted:
            add_gram(raw, block.to(raw.dtype))
    count = both.diagonal(dim1=1, dim2=2)
    found: dict[Quantity, Tensor] = {
        "activation_kernel": 2 * both - count[:, :, None] - count[:, None, :] + features,
        "preactivation_kernel": raw,
    }
    return {name: found[name] for name in wanted}


class ActivationWatch(TorchFunctionMode):
    """Computes the wanted kernels of every ReLU that runs while it is active.

    Args:
        wanted: Names out of :data:`KERNELS`.
        repeats: R.
        clock: Takes the time.
        observation: Of the same forward pass; it knows where the images are.
    """

    def __init__(self, wanted: Iterable[str], repeats: int, clock: Clock, observation: Observation):
        super().__init__()
        self._observation = observation
        self._unplaced = 0
        self.wanted = [k for k in KERNELS if k in wanted]
        self._repeats, self._clock = repeats, clock
        self._seen: list[tuple[Any, dict[Quantity, Tensor]]] = []  # per ReLU: its output's graph node, its kernels
        self._last: dict[int, tuple[Any, int, dict[Quantity, Tensor]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in ACTIVATIONS:
            return func(*args, **(kwargs or {}))
        x = args[0] if args else kwargs["input"]
        place = IMAGES_FIRST if self._repeats > 1 else self._observation.place_of_activation(x)
        found = None
        if place is not None and place != NOWHERE:
            with self._clock("activations"):
                found = self._compute(x, place)
        output = func(*args, **(kwargs or {}))
        if found is not None:
            self._seen.append((output.grad_fn, found))
        self._unplaced += place is None
        return output

    def _compute(self, x: Tensor, place: Placement) -> dict[Quantity, Tensor]:
        # Several ReLUs often read one tensor (the edges out of a cell's node): count it each time, compute once.
        known = self._last.get(id(x))
        if known is not None and known[0]() is x and known[1] == x._version:
            return known[2]
        with torch.no_grad():
            found = _kernels(by_repeat(_rows(x.detach(), place), self._repeats), self.wanted)
        self._last[id(x)] = (weakref.ref(x), x._version, found)
        return found

    def results(self, logits: Tensor) -> dict[Quantity, Tensor | None]:
        """The kernels over all live ReLUs; None where there is none, or none that sees an image.

        A ReLU counts when the logits depend on it (Mellor et al. count those that a backward pass visits), or
        when what it reads is constant, as behind a dead edge.

        Args:
            logits: The network's output, with its graph.

        Returns:
            ``(R, N, N)`` in float64, where the device has that.

        Raises:
            ScoreFailure: What one reads holds the images in no place that could be found.
        """
        if self._unplaced:
            raise ScoreFailure(f"no place of the images was found in what {self._unplaced} activations read")
        live = nodes_above(logits)
        chosen = [kernels for node, kernels in self._seen if node is None or node in live]
        results: dict[Quantity, Tensor | None] = dict.fromkeys(self.wanted)
        for name in self.wanted if chosen else ():
            each = torch.stack([k[name] for k in chosen])
            results[name] = (each.cpu() if each.device.type == "mps" else each).double().sum(0)
        self._seen.clear()
        self._last.clear()
        return results
