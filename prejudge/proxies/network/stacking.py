"""Several networks of one structure as a single one, so that their passes cost the launches of one.

A stack is a copy of the first network whose convolutions, linear layers and batch norms hold the weights of all R. It
takes R batches at once, images in turns (see :mod:`layers`). A convolution becomes a grouped one over R * C channels, a
linear layer a batched product, a batch norm takes statistics by repeat; the rest of the network acts image by image and
stays as it is. Whether it does is checked, never assumed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies.network.image_by_image import Unstackable, watch_first_forward
from prejudge.proxies.network.layers import BatchNorm, StackedLayer, fold, unfold
from prejudge.proxies.network.private_copy import wrapped


class StackedConv2d(StackedLayer, nn.Conv2d):
    """R convolutions; weight ``(R, C_out, C_in / groups, kh, kw)``, bias ``(R, C_out)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N * R, C_in, H, W)`` to ``(N * R, C_out, H, W)``."""
        x, padding = fold(x, self.repeats), self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), (0, 0)
        bias = None if self.bias is None else self.bias.flatten()
        groups = self.groups * self.repeats
        return unfold(
            F.conv2d(x, self.weight.flatten(0, 1), bias, self.stride, padding, self.dilation, groups), self.repeats
        )


class StackedLinear(StackedLayer, nn.Linear):
    """R linear layers; weight ``(R, D_out, D_in)``, bias ``(R, D_out)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N * R, …, D_in)`` to ``(N * R, …, D_out)``."""
        r, inner = self.repeats, x.shape[1:-1]
        rows = x.reshape(-1, r, inner.numel(), x.shape[-1]).transpose(0, 1).flatten(1, 2)
        bias: Tensor | None = self.bias  # None without one, whatever torch's stubs say
        columns = self.weight.mT
        output = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
        result: Tensor = (
            output.unflatten(1, (-1, inner.numel())).transpose(0, 1).reshape(len(x), *inner, output.shape[-1])
        )
        return result


class _StackedBatchNorm(StackedLayer, BatchNorm):
    """R batch norms that use the statistics of their repeat's batch and keep none; weight and bias ``(R, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N * R, C, …)`` to the same shape."""
        weight, bias = (None if p is None else p.flatten() for p in (self.weight, self.bias))
        x = fold(x, self.repeats)
        return unfold(F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps), self.repeats)


class StackedBatchNorm1d(_StackedBatchNorm, nn.BatchNorm1d):
    """See :class:`_StackedBatchNorm`."""


class StackedBatchNorm2d(_StackedBatchNorm, nn.BatchNorm2d):
    """See :class:`_StackedBatchNorm`."""


_STACKED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: StackedConv2d,
    nn.Linear: StackedLinear,
    nn.BatchNorm1d: StackedBatchNorm1d,
    nn.BatchNorm2d: StackedBatchNorm2d,
}


def refusal(network: nn.Module) -> str:
    """Why copies of a network cannot be stacked; empty where nothing in its modules speaks against it.

    What its ``forward`` does between the modules shows when it runs: see :mod:`image_by_image`.
    """
    owners: dict[int, str] = {}
    for name, module in network.named_modules():
        kind = type(module)
        label = f"{kind.__name__} {name!r}"
        if wrapped(module) is not None:
            return f"{label} stands for another module"
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if own and kind not in _STACKED:
            return f"{label} has parameters or buffers of its own"
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            return f"{label} has hooks"
        values = vars(module)
        if "forward" in values or any(isinstance(value, Tensor) for value in values.values()):
            return f"{label} has a forward function or a tensor beside its class's"
        for parameter in module.parameters(recurse=False):
            if owners.setdefault(id(parameter), name) != name:
                return f"{label} shares a parameter with {owners[id(parameter)]!r}"
    return ""


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """One network that runs all of them, on a batch in which their images take turns.

    Its first forward pass raises :class:`Unstackable` where something in it does not act image by image.

    Args:
        networks: At least two of one structure, in training mode or not; they stay as they are.

    Returns:
        A copy of the first with the first's module names; its weights are leaves ``(R, …)``.

    Raises:
        Unstackable: They differ, or hold what cannot be stacked.
    """
    first, forms = networks[0], [_form(network) for network in networks]
    if any(form != forms[0] for form in forms):
        raise Unstackable("the networks differ in their modules")
    if reason := refusal(first):
        raise Unstackable(reason)
    memo: dict[int, Any] = {id(t): t for t in (*first.parameters(), *first.buffers())}  # replaced below: not copied
    stacked = copy.deepcopy(first, memo)
    rows = zip(stacked.modules(), *(network.modules() for network in networks), strict=True)
    for module, *originals in rows:
        if type(module) not in _STACKED:
            continue
        for name in [name for name, _ in module.named_parameters(recurse=False)]:
            values = [getattr(original, name).detach() for original in originals]
            setattr(module, name, nn.Parameter(torch.stack([v.contiguous() for v in values])))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            if hasattr(module, name):
                setattr(module, name, None)
        module.__class__ = _STACKED[type(module)]
        module.repeats = len(networks)
    watch_first_forward(stacked)
    return stacked


def _form(network: nn.Module) -> list[Any]:
    """The structure of a network: classes, plain attributes, shapes and types of the parameters."""
    form = []
    for name, module in network.named_modules():
        plain = {key: value for key, value in vars(module).items() if key != "training" and _plain(value)}
        tensors = [(n, p.shape, p.dtype) for n, p in module.named_parameters(recurse=False)]
        form.append((name, type(module), plain, tensors))
    return form


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
