"""The shared pass: one forward, up to three backwards, and everything that the first-order proxies read from them.

Batch norm uses the batch's own statistics and is differentiated through, as every original does. The backwards are
those of the summed logits (for the input gradient), of the label logits (for the HNAS kernel) and of the mean
cross-entropy (for weight gradients and saliencies); the last one is differentiated again where GraSP asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.engine.device_errors import named_device_errors
from prejudge.errors import InputError
from prejudge.proxies.kernels.double_backward import Projection, cheap_double_backward
from prejudge.proxies.kernels.per_sample import ShareGram, share_gram
from prejudge.proxies.network.image_by_image import Unstackable
from prejudge.proxies.network.layers import (
    LayerCall,
    by_repeat,
    each_repeat,
    full_precision,
    prunable_layers,
    recorded_calls,
)
from prejudge.proxies.passes.activations import KERNELS, ActivationWatch
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.passes.curvature import weight_curvature
from prejudge.proxies.passes.logits import class_scores
from prejudge.proxies.passes.memory import Limits
from prejudge.proxies.quantities import OF_THE_LOSS, Quantity

_OF_LABELS = {"label_kernel", "label_kernel_diagonal"}
_OF_CALLS = {*_OF_LABELS, "channel_saliency", "multiply_adds"}


def first_order(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    wanted: Collection[Quantity],
    clock: Clock,
    autocast: Callable[[], AbstractContextManager[Any]],
    *,
    repeats: int = 1,
    limits: Limits | None = None,
    largest_label: int | None = None,
) -> dict[Quantity, Sequence[Any]]:
    """Run the passes that ``wanted`` needs, each once. Nothing in here waits for the device.

    Args:
        network: In training mode; may be changed in its buffers.
        inputs: Images ``(N * R, C, H, W)``, or any floating tensor with the batch first; repeats take turns.
        targets: Class indices ``(N * R,)``; None where no wanted quantity reads them.
        wanted: Keys of :data:`~prejudge.proxies.quantities.FIRST_ORDER`.
        clock: Takes the time of each stage.
        autocast: Makes the context of the forward pass (a no-op context, or bf16).
        repeats: R, the number of networks that ``network`` holds.
        limits: How much is held at once; default: little.
        largest_label: Of ``targets``, to be compared with the number of classes.

    Returns:
        ``wanted`` and the values for each repeat. The graph and all activations are gone when it returns.
    """
    asked = set(wanted)
    x = inputs.detach().requires_grad_()
    watch = ActivationWatch(wanted, repeats, clock) if asked & set(KERNELS) else None
    found: dict[Quantity, Sequence[Any]] = {}
    calls: list[LayerCall] = []
    projection = None

    with ExitStack() as stack:
        stack.enter_context(clock("forward"))
        stack.enter_context(autocast())
        if "weight_curvature" in asked and x.device.type in ("cpu", "cuda"):
            projection = stack.enter_context(cheap_double_backward(network))
        if asked & _OF_CALLS:
            calls = stack.enter_context(recorded_calls(network))
        if watch is not None:
            stack.enter_context(watch)
        logits = class_scores(_forward(network, x), largest_label)
    if watch is not None:
        with clock("activations"):
            kernels = watch.results(logits)
        found |= {name: [None] * repeats if k is None else list(k) for name, k in kernels.items()}
    if "logits" in asked:
        found["logits"] = list(by_repeat(logits.detach(), repeats))
    if "multiply_adds" in asked:
        found["multiply_adds"] = [sum(multiply_adds(call, repeats) for call in calls)] * repeats
    if "input_gradient" in asked:
        with clock("input backward"):
            found["input_gradient"] = list(by_repeat(_input_gradient(logits.sum(), x), repeats))
    if targets is not None and asked & _OF_LABELS:
        gram = ShareGram(
            calls,
            len(x) // repeats,
            repeats,
            full="label_kernel" in asked,
            images_at_once=(limits or Limits()).images,
        )
        with clock("label backward"):
            share_gram(logits.gather(1, targets[:, None]).sum(), logits, x, calls, gram)
            matrix = gram.finish()
            found["label_kernel_diagonal"] = list(matrix.diagonal(dim1=1, dim2=2) if gram.full else matrix)
            found["label_kernel"] = list(matrix) if gram.full else []
    if targets is not None and asked & {"loss", *OF_THE_LOSS}:
        each = F.cross_entropy(full_precision(logits), targets, reduction="none")
        losses = by_repeat(each, repeats).mean(1)
        found["loss"] = list(losses.detach())
        if asked & OF_THE_LOSS:
            with clock("loss backward"):
                found |= _of_the_loss(losses.sum(), network, calls, asked, clock, projection, repeats)
    return {name: found[name] for name in wanted}


def _forward(network: nn.Module, x: Tensor) -> Any:
    try:
        with named_device_errors(x.device):
            return network(x)
    except (torch.OutOfMemoryError, Unstackable):
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(x.shape)
        raise InputError(f"the network cannot take a batch of shape {shape}: {' '.join(str(error).split())}") from error


def _input_gradient(scalar: Tensor, x: Tensor) -> Tensor:
    """J, the gradient of the sum of all logits for each image, ``(N * R, …)``; zero where nothing connects."""
    gradient = None
    if scalar.requires_grad:
        (gradient,) = torch.autograd.grad(scalar, x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def _of_the_loss(
    loss: Tensor,
    network: nn.Module,
    calls: list[LayerCall],
    asked: Collection[str],
    clock: Clock,
    projection: Projection | None,
    repeats: int,
) -> dict[Quantity, Sequence[Any]]:
    """Weight gradients, channel saliencies and, where asked for, the curvature, by repeat."""
    saliency: dict[str, Tensor] = {}

    def observer(call: LayerCall) -> Callable[[Tensor], None]:
        def add(gradient: Tensor) -> None:
            value = _channel_saliency(call, gradient.detach(), repeats)
            saliency[call.name] = saliency[call.name] + value if call.name in saliency else value

        return add

    observed = calls if "channel_saliency" in asked else []
    hooks = [call.output.register_hook(observer(call)) for call in observed if call.output.requires_grad]
    weights = {name: layer.weight for name, layer in prunable_layers(network).items()}
    curvature = "weight_curvature" in asked
    gradients = dict(
        zip(
            weights,
            torch.autograd.grad(loss, list(weights.values()), create_graph=curvature, allow_unused=True),
            strict=True,
        )
    )
    for hook in hooks:
        hook.remove()
    found: dict[Quantity, Sequence[Any]] = {}
    if curvature:
        with clock("curvature"):
            found["weight_curvature"] = each_repeat(weight_curvature(weights, gradients, projection, repeats), repeats)
    of_weights = {}
    for name, weight in weights.items():
        gradient = gradients[name]
        gradient = torch.zeros_like(weight) if gradient is None else gradient.detach()
        of_weights[name] = gradient if repeats > 1 else gradient[None]
    found["weight_gradients"] = each_repeat(of_weights, repeats)
    found["channel_saliency"] = each_repeat(saliency, repeats)
    return found


def _channel_saliency(call: LayerCall, gradient: Tensor, repeats: int) -> Tensor:
    """1/2 mean over images of (sum over positions of z * dL/dz)^2 for each channel, ``(R, C)`` (Theis et al. 2018)."""
    with torch.no_grad():
        product = full_precision(call.output.detach() * gradient)
        if isinstance(call.layer, nn.Conv2d):
            summed = product.permute(0, 2, 3, 1).flatten(1, 2).sum(1)
        else:
            summed = product.reshape(len(product), -1, product.shape[-1]).sum(1)
        return by_repeat(summed, repeats).square().mean(1) / 2


def multiply_adds(call: LayerCall, repeats: int = 1) -> int:
    """Multiply-adds of one image through one call: the convolution without its bias, a linear layer with it."""
    weights = call.layer.weight.numel() // repeats
    if isinstance(call.layer, nn.Conv2d):
        return weights * call.output.shape[2:].numel()
    positions = call.output[0].numel() // call.layer.out_features
    return (weights + (0 if call.layer.bias is None else call.layer.out_features)) * positions
