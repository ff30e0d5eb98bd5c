"""The two figures of TE-NAS for a supernet of which some operations are left: kernel condition and linear regions."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prejudge.engine.device import find_device
from prejudge.engine.random_state import own_random_state
from prejudge.engine.torch_state import standard_torch_state
from prejudge.proxies.kernels.spectrum import condition_number
from prejudge.proxies.network.activation_functions import RELUS, Activation, activation_of
from prejudge.proxies.passes.jacobian import exact_kernel, fixed_bn_kernel
from prejudge.proxies.score import ScoreFailure
from prejudge.search.pruning.inputs import MeasurementInputs, initialize
from prejudge.search.pruning.protocol import PruningProtocol
from prejudge.search.pruning.pruning_space import PruningSpace
from prejudge.search.pruning.rounds import NetworkMeasurement, NetworkTask
from prejudge.spaces.base import Space
from prejudge.spaces.nn.supernet import Supernet, Weighted, uniform

_KERNELS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {"exact": exact_kernel, "fixed-bn": fixed_bn_kernel}


class ActivationPatterns(TorchFunctionMode):
    """A recorder of the on/off pattern of every ReLU that runs while it is active, one bit a unit."""

    def __init__(self) -> None:
        super().__init__()
        self._states: list[Tensor] = []
        self._seen: dict[tuple[int, float], tuple[Any, int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        activation = activation_of(func, args, kwargs or {})
        if activation is not None and activation.kind in RELUS:
            self._keep(activation)
        return func(*args, **(kwargs or {}))

    def rows(self) -> np.ndarray:
        """The pattern of each image over all ReLUs, ``(N, bytes)``; ReLUs of one tensor count once."""
        return np.packbits(torch.cat(self._states, dim=1).cpu().numpy(), axis=1)

    def _keep(self, activation: Activation) -> None:
        # All edges out of a node apply their ReLU to the same tensor: its bits tell nothing new the second time.
        x, key = activation.inputs, (id(activation.inputs), activation.threshold)
        seen = self._seen.get(key)
        if seen is None or seen[0]() is not x or seen[1] != x._version:
            self._seen[key] = (weakref.ref(x), x._version)
            self._states.append((x.detach() > activation.threshold).flatten(1))


def count_regions(network: nn.Module, batches: Sequence[Tensor]) -> int:
    """Number of distinct activation patterns among all images of some batches, a sample of the linear regions.

    Equal to the sum over images of 1 / (images with the same pattern) by which the released code counts, without
    comparing all pairs.

    Args:
        network: In training mode: batch norm takes each batch by itself.
        batches: Images, ``(N, C, H, W)`` each.
    """
    patterns: set[bytes] = set()
    for images in batches:
        with torch.no_grad(), ActivationPatterns() as watch:
            network(images)
        patterns.update(row.tobytes() for row in watch.rows())
    return len(patterns)


@dataclass
class NetworkMeasurer:
    """Measures tasks of one round, in this process or in a worker.

    Attributes:
        space: The search space.
        kernel: All options of the supernet whose kernel is computed.
        thin: All options of the thin supernet.
        protocol: The settings.
        draws: The inputs of each repeat.
        device: Where to compute.
    """

    space: Space[Any]
    kernel: dict[str, Any]
    thin: dict[str, Any]
    protocol: PruningProtocol
    draws: dict[int, MeasurementInputs]
    device: str = "cpu"
    _networks: dict[tuple[str, int], Supernet] = field(default_factory=dict, repr=False)

    def __call__(self, task: NetworkTask) -> NetworkMeasurement:
        start = time.perf_counter()
        condition = regions = math.nan
        reason = ""
        mixture = uniform(task.active)
        draw = self.draws[task.repeat]
        device = find_device(self.device)
        with standard_torch_state(device), own_random_state(draw.weights):
            if task.kernel:
                network = Weighted(self._network("kernel", draw.weights), mixture)
                try:
                    (kernel,) = _KERNELS[self.protocol.kernel](network, draw.images.to(device))
                    condition = condition_number(kernel)
                except ScoreFailure as error:
                    reason = str(error)
            if task.regions:
                network = Weighted(self._network("thin", draw.weights), mixture)
                regions = count_regions(network, [crops.to(device) for crops in draw.crops])
        return NetworkMeasurement(condition, regions, time.perf_counter() - start, reason)

    def _network(self, which: str, seed: int) -> Supernet:
        """The network with the weights of a seed; only the last one of each kind is kept."""
        if (which, seed) not in self._networks:
            with own_random_state(seed):
                network = self.space.supernet(**(self.kernel if which == "kernel" else self.thin)).train()
                initialize(network, self.protocol.initialization, "fan_out" if which == "kernel" else "fan_in")
            if which == "kernel" and find_device(self.device).type == "cpu":
                channels_last_convolutions(network)
            self._networks = {key: n for key, n in self._networks.items() if key[0] != which}
            self._networks[which, seed] = network.to(self.device)
        return self._networks[which, seed]


def measurer(
    space: Space[Any],
    pruning_space: PruningSpace,
    protocol: PruningProtocol,
    draws: dict[int, MeasurementInputs],
    classes: int,
    device: str,
) -> NetworkMeasurer:
    """The measurer of a round; the networks' classes and channels are the data's."""
    options = pruning_space.supernet_options
    channels = draws[min(draws)].images.shape[1]
    kernel = {**options, **pruning_space.kernel, "in_channels": channels, "num_classes": classes}
    return NetworkMeasurer(
        space, kernel, {**options, **pruning_space.thin, "num_classes": classes}, protocol, draws, device
    )


class _Formats(torch.autograd.Function):
    """The input of a convolution with the channels last, its gradient in the usual format."""

    keeps_images = True

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous()


def channels_last_convolutions(network: nn.Module) -> None:
    """Run the convolutions with the channels last, which on a CPU is several times faster for so few channels.

    Everything else keeps the usual format. Batch norm with the channels last adds up its values one after the other,
    which for a whole batch of images costs half of the digits of single precision, and now and then flips a ReLU.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
            module.register_forward_pre_hook(lambda _, args: (_Formats.apply(args[0]),))
            module.register_forward_hook(lambda _, __, output: output.contiguous())
