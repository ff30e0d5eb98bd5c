"""Every proxy in the plain way: on a copy of its own, one measure at a time, with the obvious loops.

The tests compare the shared passes with these in float64; the speed measurements time them as what is to be beaten.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fresh(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network).train()
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network


def counted(network: nn.Module) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def with_gradients(network: nn.Module, x: Tensor, y: Tensor) -> list[Any]:
    F.cross_entropy(network(x), y).backward()
    layers = counted(network)
    for layer in layers:
        if layer.weight.grad is None:
            layer.weight.grad = torch.zeros_like(layer.weight)
    return layers


def grad_norm(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return sum(layer.weight.grad.norm().item() for layer in with_gradients(fresh(network), x, y))


def snip(network: nn.Module, x: Tensor, y: Tensor) -> float:
    layers = with_gradients(fresh(network), x, y)
    return sum((layer.weight * layer.weight.grad).abs().sum().item() for layer in layers)


def plain(network: nn.Module, x: Tensor, y: Tensor) -> float:
    layers = with_gradients(fresh(network), x, y)
    return sum((layer.weight * layer.weight.grad).sum().item() for layer in layers)


def grasp(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network = fresh(network)
    weights = [layer.weight for layer in counted(network)]
    first = torch.autograd.grad(F.cross_entropy(network(x), y), weights, allow_unused=True)
    second = torch.autograd.grad(F.cross_entropy(network(x), y), weights, create_graph=True, allow_unused=True)
    z = sum((a.detach() * b).sum() for a, b in zip(first, second, strict=True) if a is not None)
    hessian = torch.autograd.grad(z, weights, allow_unused=True)
    return -sum((w * h).sum().item() for w, h in zip(weights, hessian, strict=True) if h is not None)


def fisher(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network = fresh(network)
    outputs: list[tuple[Any, Tensor]] = []

    def keep(layer: Any, _: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs.append((layer, output))

    for layer in counted(network):
        layer.register_forward_hook(keep)
    F.cross_entropy(network(x), y).backward()
    total = 0.0
    for layer, z in outputs:
        if z.grad is not None:
            axes = [2, 3] if isinstance(layer, nn.Conv2d) else list(range(1, z.dim() - 1))
            product = z * z.grad
            channel = (product.sum(axes) if axes else product).square().mean(0) / 2
            total += (channel.sum() * layer.weight[0].numel()).item()
    return total


def l2_norm(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return sum(layer.weight.norm().item() for layer in counted(network))


def jacobian(network: nn.Module, x: Tensor) -> np.ndarray:
    x = x.clone().requires_grad_()
    output = fresh(network)(x)
    output.backward(torch.ones_like(output))
    return x.grad.flatten(1).numpy().astype(np.float64)


def jacob_cov(network: nn.Module, x: Tensor, y: Tensor) -> float:
    values = np.linalg.eigvalsh(np.corrcoef(jacobian(network, x))) + 1e-5
    return -float(np.sum(np.log(values) + 1 / values))


def epe_nas(network: nn.Module, x: Tensor, y: Tensor) -> float:
    rows, total = jacobian(network, x), 0.0
    for label in set(y.tolist()):
        members = rows[(y == label).numpy()]
        if len(members) > 1:
            total += abs(np.log(np.abs(np.corrcoef(members)) + 1e-5).sum())
    return float(total)


def synflow(network: nn.Module, x: Tensor, y: Tensor) -> float:
    network = fresh(network).double()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.abs_()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.forward = lambda value: value
    network(torch.ones(1, *x.shape[1:], dtype=torch.float64)).sum().backward()
    return sum((m.weight * m.weight.grad).abs().sum().item() for m in counted(network) if m.weight.grad is not None)


def logsynflow(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(np.log(synflow(network, x, y)))


def relu_inputs(network: nn.Module, x: Tensor) -> list[Tensor]:
    network = fresh(network)
    seen: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, args, __: seen.append(args[0].detach().flatten(1)))
    with torch.no_grad():
        network(x)
    return seen


def naswot(network: nn.Module, x: Tensor, y: Tensor) -> float:
    kernel = 0.0
    for value in relu_inputs(network, x):
        on = (value > 0).double()
        kernel = kernel + on @ on.T + (1 - on) @ (1 - on).T
    return torch.linalg.slogdet(kernel)[1].item()


def naswot_hnas(network: nn.Module, x: Tensor, y: Tensor) -> float:
    kernel = sum((v @ v.T).double() for v in relu_inputs(network, x))
    return torch.linalg.slogdet(kernel)[1].item()


def linear_regions(network: nn.Module, x: Tensor, y: Tensor) -> int:
    patterns = torch.cat([v > 0 for v in relu_inputs(network, x)], dim=1).numpy()
    return len(np.unique(patterns, axis=0))


def label_kernel(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The HNAS kernel through the full N x P matrix of unfolded per-image shares."""
    network = fresh(network)
    seen: list[tuple[Any, Tensor, Tensor]] = []

    def keep(layer: Any, args: Any, output: Tensor) -> None:
        output.retain_grad()
        seen.append((layer, args[0].detach(), output))

    for layer in counted(network):
        layer.register_forward_hook(keep)
    network(x).gather(1, y[:, None]).sum().backward()
    blocks: dict[int, list[Tensor]] = {}
    for layer, a, z in seen:
        b = z.grad if z.grad is not None else torch.zeros_like(z)
        if isinstance(layer, nn.Linear):
            a, b = a.reshape(len(a), -1, a.shape[-1]), b.reshape(len(b), -1, b.shape[-1])
            rows = [torch.einsum("npo,npi->noi", b, a).flatten(1)]
            bias = b.sum(1)
        else:
            padding = [k // 2 for k in layer.kernel_size] if layer.padding == "same" else layer.padding
            if layer.padding_mode == "circular":
                a, padding = F.pad(a, (padding[1], padding[1], padding[0], padding[0]), mode="circular"), (0, 0)
            patches = F.unfold(a, layer.kernel_size, layer.dilation, tuple(padding), layer.stride)
            patches = patches.view(len(a), layer.groups, -1, patches.shape[2])
            b4 = b.flatten(2).view(len(a), layer.groups, -1, patches.shape[3])
            rows = [torch.einsum("ngop,ngip->ngoi", b4, patches).flatten(1)]
            bias = b.sum((2, 3))
        if layer.bias is not None:
            rows.append(bias)
        earlier = blocks.get(id(layer))
        blocks[id(layer)] = rows if earlier is None else [r + e for r, e in zip(rows, earlier, strict=True)]
    matrix = torch.cat([row for rows in blocks.values() for row in rows], dim=1)
    return matrix @ matrix.T


def ntk_trace(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return (label_kernel(network, x, y).trace() / len(x)).sqrt().item()


def ntk_condition(network: nn.Module, x: Tensor, y: Tensor) -> float:
    values = torch.linalg.eigvalsh(label_kernel(network, x, y))
    return (values[-1] / values[0]).item()


def jacobian_kernel(network: nn.Module, x: Tensor) -> Tensor:
    """TE-NAS's kernel: one backward pass per image, the full N x P matrix."""
    network = fresh(network)
    weights = [p for name, p in network.named_parameters() if "weight" in name]
    logits = network(x)
    rows = []
    for i in range(len(x)):
        gradients = torch.autograd.grad(logits[i].sum(), weights, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    matrix = torch.stack(rows)
    return matrix @ matrix.T


def ntk_trace_tenas(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return (jacobian_kernel(network, x).trace() / len(x)).sqrt().item()


def ntk_condition_tenas(network: nn.Module, x: Tensor, y: Tensor) -> float:
    values = torch.linalg.eigvalsh(jacobian_kernel(network, x))
    return (values[-1] / values[0]).item()


class ConstantNorm(nn.Module):
    """A batch norm in evaluation with given statistics."""

    def __init__(self, bn: Any, mean: Tensor, variance: Tensor):
        super().__init__()
        self.weight, self.bias, self.eps = bn.weight, bn.bias, bn.eps
        self.mean, self.variance = mean, variance

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, training=False, eps=self.eps)


def fixed_bn_kernel(network: nn.Module, x: Tensor) -> Tensor:
    """Statistics of the batch frozen into the network, then one backward pass per image."""
    network = fresh(network)
    statistics: dict[str, tuple[Tensor, Tensor]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):

            def keep(_: Any, args: Any, name: str = name) -> None:
                statistics[name] = (args[0].mean((0, 2, 3)).detach(), args[0].var((0, 2, 3), unbiased=False).detach())

            module.register_forward_pre_hook(keep)
    network(x)
    for name, (mean, variance) in statistics.items():
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, ConstantNorm(network.get_submodule(name), mean, variance))
    return jacobian_kernel(network, x)


def ntk_condition_fixed_bn(network: nn.Module, x: Tensor, y: Tensor) -> float:
    values = torch.linalg.eigvalsh(fixed_bn_kernel(network, x))
    return (values[-1] / values[0]).item()


def params(network: nn.Module, x: Tensor, y: Tensor) -> int:
    return sum(p.numel() for p in network.parameters())


Oracle = Callable[[nn.Module, Tensor, Tensor], float]

ORACLES: dict[str, Oracle] = {
    f.__name__: f
    for f in (
        grad_norm, snip, plain, grasp, fisher, l2_norm, jacob_cov, epe_nas, synflow, logsynflow, naswot, naswot_hnas,
        linear_regions, ntk_trace, ntk_condition, ntk_trace_tenas, ntk_condition_tenas, ntk_condition_fixed_bn, params,
    )
}  # fmt: skip
