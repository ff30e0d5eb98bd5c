"""Channel saliency, for Fisher: how much each output channel of a product moves the loss of each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from prejudge.proxies.network.layers import by_repeat, full_precision
from prejudge.proxies.network.operations import CONVOLUTIONS, Observation, Operation
from prejudge.proxies.network.placement import IMAGES_FIRST
from prejudge.proxies.network.weights import behind, product_nodes


class ChannelSaliency:
    """1/2 mean over images of (sum over positions of z * dL/dz)^2 for each channel, ``(R, C)`` (Theis et al. 2018).

    Args:
        observation: Of the forward pass; :meth:`refusal` has nothing against it.
        weights: The prunable weights by name.
        repeats: R.
    """

    def __init__(self, observation: Observation, weights: Mapping[str, Tensor], repeats: int):
        self._names = {id(w): name for name, w in weights.items()}
        self.operations = [o for o in observation.operations if o.is_product and self._name(o)]
        self.repeats = repeats
        self.weights_per_channel: dict[str, int] = {}
        self._found: dict[str, Tensor] = {}

    @staticmethod
    def refusal(observation: Observation) -> str:
        """Why there is no saliency of a network; empty where there is one."""
        stops = product_nodes(observation)
        for function, weights in observation.whole:
            if any(behind(weight, stops) for weight in weights):  # else they were made by other products
                return f"no convention says what the channels of {function!r} are"
        for operation in observation.operations:
            if operation.is_product and operation.values_are_lost:
                return f"a part of what {operation.function!r} returned was changed in place"
            if operation.is_product and operation.function not in (*CONVOLUTIONS, "linear"):
                weight = operation.weight
                inner = [dim for dim in range(weight.dim() - 2) if weight.shape[dim] > 1 and weight.stride(dim) != 0]
                if inner or weight.dim() < 2 or weight.shape[-1] != operation.output.shape[-1]:
                    return f"no convention says what the channels of this {operation.function!r} are"
        return ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the gradients of the loss that pass in the block."""
        for operation in self.operations:
            if operation.placed and operation.output.requires_grad:
                operation.listeners.append(partial(self._add, operation))
        try:
            yield
        finally:
            for operation in self.operations:
                operation.listeners.clear()

    def finish(self, each: Tensor) -> dict[str, Tensor]:
        """The saliencies by weight.

        Args:
            each: Each image's part of the loss ``(N,)`` with its graph, for what acts on tensors that hold no image.
        """
        for operation in self.operations:
            if operation.placed or not operation.output.requires_grad:
                continue
            rows = []
            for part in each:
                (gradient,) = torch.autograd.grad(part, operation.output, retain_graph=True, allow_unused=True)
                gradient = torch.zeros_like(operation.output) if gradient is None else gradient
                rows.append(_channels_last(operation, _product(operation, gradient)[None]))
            self._keep(operation, torch.cat(rows))
        return self._found

    def _add(self, operation: Operation, gradient: Tensor) -> None:
        with torch.no_grad():
            product = _product(operation, gradient.detach())
            assert operation.output_place is not None
            if operation.output_place != IMAGES_FIRST:
                product = operation.output_place.first(product)
            self._keep(operation, _channels_last(operation, product))

    def _keep(self, operation: Operation, summed: Tensor) -> None:
        with torch.no_grad():
            value = by_repeat(summed, self.repeats).square().mean(1) / 2
        name = self._name(operation)
        per_channel = operation.weight.numel() // self.repeats // value.shape[1]
        if operation.function not in (*CONVOLUTIONS, "linear"):
            per_channel = operation.weight.shape[-2]
        key, turn = name, 1
        while key in self._found and (self.weights_per_channel[key], self._found[key].shape) != (
            per_channel,
            value.shape,
        ):
            turn += 1
            key = f"{name}#{turn}"  # another part of the same weight
        self.weights_per_channel[key] = per_channel
        self._found[key] = self._found[key] + value if key in self._found else value

    def _name(self, operation: Operation) -> str:
        names = [self._names[id(p)] for p, _ in behind(operation.weight) if id(p) in self._names]
        return names[0] if names else ""


def _product(operation: Operation, gradient: Tensor) -> Tensor:
    values = operation.output.detach() if operation.values is None else operation.values
    return full_precision(values * gradient)


def _channels_last(operation: Operation, product: Tensor) -> Tensor:
    """Sums over positions, ``(N, C)``, of a product ``(N, …)``; the channels of a convolution precede its positions."""
    if operation.function in CONVOLUTIONS:
        dims = operation.weight.dim() - 2 if operation.output.dim() else 0
        dims = int(operation.function[-2])
        product = product.movedim(-dims - 1, -1)
        return product.flatten(1, -2).sum(1)
    return product.reshape(len(product), -1, product.shape[-1]).sum(1)
