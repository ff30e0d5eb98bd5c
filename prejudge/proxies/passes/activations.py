"""Activation patterns: which units are on for each image, and the similarity of the images' patterns.

A torch function mode sees every activation, whether it is an ``nn.ReLU`` or ``F.relu`` inside some forward, before an
in-place one overwrites its input.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from prejudge.proxies.network.activation_functions import GATES, RELUS, Activation, activation_of
from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import add_gram, by_repeat
from prejudge.proxies.network.operations import CONSTANT, Observation, mark_of
from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.quantities import Quantity
from prejudge.proxies.score import ScoreFailure

KERNELS: tuple[Quantity, ...] = ("activation_kernel", "preactivation_kernel")


def _rows(x: Tensor, place: Placement) -> Tensor:
    """``(N, F)`` without a copy in either memory format; the order of features is the same for every image."""
    if place != IMAGES_FIRST:
        return place.first(x).flatten(1)
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)


_FEATURES_AT_ONCE = 8192  # a block of this width and its copies stay in a CPU's cache


def _kernels(rows: Tensor, threshold: float, wanted: list[Quantity]) -> dict[Quantity, Tensor]:
    """All wanted kernels ``(R, N, N)`` of one activation's input ``(R, N, F)``, block by block of features.

    The binary kernel is Mellor's A A^T + (1-A)(1-A)^T with A = [input > threshold], from one product:
    2 A A^T - a_i - a_j + F.
    """
    repeats, n, features = rows.shape
    both = torch.zeros(repeats, n, n, device=rows.device)
    raw = torch.zeros(repeats, n, n, device=rows.device, dtype=torch.promote_types(rows.dtype, torch.float32))
    width = _FEATURES_AT_ONCE if rows.device.type == "cpu" else features
    for start in range(0, features, width):
        block = rows[..., start : start + width]
        if "activation_kernel" in wanted:
            add_gram(both, (block > threshold).float())  # exact: counts stay below 2^24
        if "preactivation_kernel" in wanted:
            add_gram(raw, block.to(raw.dtype))
    count = both.diagonal(dim1=1, dim2=2)
    found: dict[Quantity, Tensor] = {
        "activation_kernel": 2 * both - count[:, :, None] - count[:, None, :] + features,
        "preactivation_kernel": raw,
    }
    return {name: found[name] for name in wanted}


class ActivationWatch(TorchFunctionMode):
    """Computes the wanted kernels of every counted activation that runs while it is active.

    Args:
        wanted: Names out of :data:`KERNELS`.
        repeats: R.
        clock: Takes the time.
        observation: Of the same forward pass; it knows where the images are.
        kinds: The kinds of activations that count.
    """

    def __init__(
        self,
        wanted: Iterable[str],
        repeats: int,
        clock: Clock,
        observation: Observation,
        kinds: Collection[str] = RELUS,
    ):
        super().__init__()
        self._observation, self._kinds = observation, kinds
        self._unplaced = 0
        self.wanted = [k for k in KERNELS if k in wanted]
        self._repeats, self._clock = repeats, clock
        self._seen: list[tuple[Any, str, dict[Quantity, Tensor]]] = []  # per activation: its node, kind and kernels
        self._last: dict[tuple[int, float], tuple[Any, int, dict[Quantity, Tensor]]] = {}
        self.remark = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        activation = activation_of(func, args, kwargs)
        if activation is None:
            return func(*args, **kwargs)
        counts = activation.kind in self._kinds
        sees_images = mark_of(activation.inputs) != CONSTANT
        place: Placement | None = IMAGES_FIRST
        if self._repeats == 1:
            place = self._observation.place_of_activation(activation.inputs, counts=counts)
        found: dict[Quantity, Tensor] = {}
        if counts and place is not None and place != NOWHERE:
            with self._clock("activations"):
                found = self._compute(activation, place)
        output = func(*args, **kwargs)
        if found or (not counts and sees_images):
            self._seen.append((output.grad_fn, activation.kind, found))
        self._unplaced += place is None
        return output

    def _compute(self, activation: Activation, place: Placement) -> dict[Quantity, Tensor]:
        # Several ReLUs often read one tensor (the edges out of a cell's node): count it each time, compute once.
        x, key = activation.inputs, (id(activation.inputs), activation.threshold)
        known = self._last.get(key)
        if known is not None and known[0]() is x and known[1] == x._version:
            return known[2]
        with torch.no_grad():
            rows = by_repeat(_rows(x.detach(), place), self._repeats)
            found = _kernels(rows, activation.threshold, self.wanted)
        self._last[key] = (weakref.ref(x), x._version, found)
        return found

    def results(self, logits: Tensor) -> dict[Quantity, Tensor]:
        """The kernels over all live activations that count.

        An activation is live when the logits depend on it (Mellor et al. count those that a backward pass visits), or
        when what it reads is constant, as behind a dead edge.

        Args:
            logits: The network's output, with its graph.

        Returns:
            ``(R, N, N)`` in float64, where the device has that.

        Raises:
            ScoreFailure: None counts, or what one reads holds the images in no place that could be found.
        """
        if self._unplaced:
            raise ScoreFailure(f"no place of the images was found in what {self._unplaced} activations read")
        live = nodes_above(logits)
        seen = [(kind, kernels) for node, kind, kernels in self._seen if node is None or node in live]
        self._seen.clear()
        self._last.clear()
        self.remark = _remark([kind for kind, _ in seen], self._kinds)
        chosen = [kernels for _, kernels in seen if kernels]
        if not chosen:
            raise ScoreFailure(
                f"no activation {'that counts ' * bool(seen)}lies between the images and the logits"
                + f" ({self.remark})" * bool(seen)
            )
        results: dict[Quantity, Tensor] = {}
        for name in self.wanted:
            each = torch.stack([k[name] for k in chosen])
            results[name] = (each.cpu() if each.device.type == "mps" else each).double().sum(0)
        return results


def _remark(kinds: Iterable[str], chosen: Collection[str]) -> str:
    """Which activations count and which do not; empty where all are ReLUs and count."""
    numbers = Counter(kinds)
    count, out = ([kind for kind in sorted(numbers) if (kind in chosen) == yes] for yes in (True, False))
    if not out and RELUS.issuperset(count):
        return ""

    def listed(kinds: Iterable[str]) -> str:
        return ", ".join(f"{numbers[kind]} {kind}" for kind in kinds)

    parts = [f"counted: {listed(count)}"] if count else []
    if out:
        gates = GATES.issuperset(out)
        gained = listed(kind for kind in out if gates or kind not in GATES)
        what = ", which" if gained == listed(out) else f"; of these {gained} are what"
        option = "+".join(["all", *out]) if gates else "all"
        parts.append(f"left out: {listed(out)}{what} activations={option!r} counts by the sign of its input")
    return "; ".join(parts)
