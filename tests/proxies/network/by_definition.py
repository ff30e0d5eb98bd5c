"""Scores of any network by their plain definitions: the autograd of whole tensors, one backward pass for each image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear)


def weights(network: nn.Module) -> list[nn.Parameter]:
    """Kernels and matrices, each once."""
    found = [m.weight for m in network.modules() if isinstance(m, LAYERS)]
    found += [
        w for m in network.modules() if isinstance(m, nn.RNNBase) for k, w in m.named_parameters() if "weight" in k
    ]
    found += [w for m in network.modules() for k, w in m.named_parameters(recurse=False) if k == "matrix"]
    return list(dict.fromkeys(found))


def biases(network: nn.Module) -> list[nn.Parameter]:
    found = [m.bias for m in network.modules() if isinstance(m, LAYERS) and m.bias is not None]
    found += [w for m in network.modules() if isinstance(m, nn.RNNBase) for k, w in m.named_parameters() if "bias" in k]
    return list(dict.fromkeys(found))


def gradients(scalar: Tensor, parameters: list[Any], **options: Any) -> list[Tensor]:
    found = torch.autograd.grad(scalar, parameters, allow_unused=True, retain_graph=True, **options)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@contextmanager
def private(network: nn.Module) -> Iterator[nn.Module]:
    with sdpa_kernel(SDPBackend.MATH):
        yield copy.deepcopy(network).train()


def of_the_loss(measure: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., float]:
    def define(network: nn.Module, x: Tensor, y: Tensor) -> float:
        with private(network) as own:
            found = weights(own)
            return sum(
                measure(w, g).item() for w, g in zip(found, gradients(F.cross_entropy(own(x), y), found), strict=True)
            )

    return define


def grasp(network: nn.Module, x: Tensor, y: Tensor) -> float:
    for module in (network := copy.deepcopy(network)).modules():
        if isinstance(module, nn.Hardsigmoid):
            module.forward = lambda value: F.relu6(value + 3) / 6
    with sdpa_kernel(SDPBackend.MATH):
        found = weights(network)
        first = gradients(F.cross_entropy(network(x), y), found, create_graph=True)
        product = sum((g.detach() * g).sum() for g in first)
        return -sum((w * h).sum().item() for w, h in zip(found, gradients(product, found), strict=True))


def kernel(
    network: nn.Module, parameters: Callable[[nn.Module], list[Any]], scalars: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    with private(network) as own:
        each = scalars(own(x))
        rows = torch.stack([torch.cat([g.flatten() for g in gradients(s, parameters(own))]) for s in each])
    return rows @ rows.T


def label_kernel(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return kernel(network, lambda n: weights(n) + biases(n), lambda z: z.gather(1, y[:, None])[:, 0], x)


def tenas_kernel(network: nn.Module, x: Tensor) -> Tensor:
    return kernel(network, lambda n: [p for k, p in n.named_parameters() if "weight" in k], lambda z: z.sum(1), x)


def condition(matrix: Tensor) -> float | None:
    values = torch.linalg.eigvalsh(matrix)
    return None if values[0] <= 1e-15 * values[-1] else (values[-1] / values[0]).item()


def synflow(network: nn.Module, x: Tensor, _: Tensor) -> float:
    with private(network) as own, torch.no_grad():
        for value in own.state_dict().values():
            value.abs_()
        with torch.enable_grad():
            found = weights(own)
            flows = gradients(own(torch.ones_like(x[:1])).sum(), found)
        return sum((w * g).abs().sum().item() for w, g in zip(found, flows, strict=True))


ALL: dict[str, Callable[..., Any]] = {
    "grad_norm": of_the_loss(lambda w, g: g.norm()),
    "snip": of_the_loss(lambda w, g: (w * g).abs().sum()),
    "l2_norm": of_the_loss(lambda w, g: w.norm()),
    "grasp": grasp,
    "synflow": synflow,
    "ntk_trace": lambda n, x, y: (label_kernel(n, x, y).trace() / len(x)).sqrt().item(),
    "ntk_condition": lambda n, x, y: condition(label_kernel(n, x, y)),
    "ntk_trace_tenas": lambda n, x, y: (tenas_kernel(n, x).trace() / len(x)).sqrt().item(),
    "ntk_condition_fixed_bn": lambda n, x, y: condition(tenas_kernel(n, x)),
}
