"""The shared pass: one forward, up to three backwards, and everything that the first-order proxies read from them.

Batch norm uses the batch's own statistics and is differentiated through, as every original does. The backwards are
those of the summed logits (for the input gradient), of the label logits (for the HNAS kernel) and of the mean
cross-entropy (for weight gradients and saliencies); the last one is differentiated again where GraSP asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.activations import KERNELS, RectifierWatch
from prejudge.proxies.clock import Clock
from prejudge.proxies.curvature import weight_curvature
from prejudge.proxies.double_backward import Projection, cheap_double_backward
from prejudge.proxies.layers import Call, counted_layers, full_precision, recorded_calls
from prejudge.proxies.logits import class_scores
from prejudge.proxies.per_sample import ShareGram, share_gram

STAGES: dict[str, tuple[str, ...]] = {
    "logits": ("forward",),
    "multiply_adds": ("forward",),
    "activation_kernel": ("forward", "rectifiers"),
    "preactivation_kernel": ("forward", "rectifiers"),
    "input_gradient": ("forward", "input backward"),
    "label_kernel": ("forward", "label backward"),
    "label_kernel_diagonal": ("forward", "label backward"),
    "loss": ("forward",),
    "weight_gradients": ("forward", "loss backward"),
    "channel_saliency": ("forward", "loss backward"),
    "weight_curvature": ("forward", "loss backward", "curvature"),
}
"""Every quantity of the shared pass, with the stages that it costs."""


def first_order(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    wanted: Collection[str],
    clock: Clock,
    autocast: Callable[[], Any],
) -> dict[str, Any]:
    """Run the passes that ``wanted`` needs, each once.

    Args:
        network: In training mode; may be changed in its buffers.
        inputs: Images ``(N, C, H, W)``, or any floating tensor with the batch first.
        targets: Class indices ``(N,)``; None where no wanted quantity reads them.
        wanted: Keys of :data:`STAGES`.
        clock: Takes the time of each stage.
        autocast: Makes the context of the forward pass (a no-op context, or bf16).

    Returns:
        ``wanted`` and its values. The graph and all activations are gone when it returns.
    """
    x = inputs.detach().requires_grad_()
    need_calls = {"label_kernel", "label_kernel_diagonal", "channel_saliency", "multiply_adds"} & set(wanted)
    watch = RectifierWatch(wanted) if set(KERNELS) & set(wanted) else None
    results: dict[str, Any] = {}
    calls: list[Call] = []

    with ExitStack() as stack:
        stack.enter_context(clock("forward"))
        stack.enter_context(autocast())
        projection = None
        if "weight_curvature" in wanted and x.device.type in ("cpu", "cuda"):
            projection = stack.enter_context(cheap_double_backward(network))
        if need_calls:
            calls = stack.enter_context(recorded_calls(network))
        if watch is not None:
            stack.enter_context(watch)
        logits = class_scores(_forward(network, x), targets)
    if watch is not None:
        clock.move("forward", "rectifiers", watch.seconds)
        with clock("rectifiers"):
            results |= watch.results(logits)
    if "logits" in wanted:
        results["logits"] = logits.detach()
    if "multiply_adds" in wanted:
        results["multiply_adds"] = sum(multiply_adds(call) for call in calls)

    if "input_gradient" in wanted:
        with clock("input backward"):
            results["input_gradient"] = _input_gradient(logits, x)
    if targets is not None:
        if {"label_kernel", "label_kernel_diagonal"} & set(wanted):
            with clock("label backward"):
                full = "label_kernel" in wanted
                gram = _label_gram(logits, targets, x, calls, full)
                results["label_kernel"] = gram if full else None
                results["label_kernel_diagonal"] = gram.diagonal() if full else gram
        if {"loss", "weight_gradients", "channel_saliency", "weight_curvature"} & set(wanted):
            loss = F.cross_entropy(full_precision(logits), targets)
            results["loss"] = loss.detach()
            if set(wanted) & {"weight_gradients", "channel_saliency", "weight_curvature"}:
                results |= _loss_backward(network, loss, calls, wanted, clock, projection)
    return {name: results[name] for name in wanted}


def _forward(network: nn.Module, x: Tensor) -> Any:
    try:
        return network(x)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(x.shape)
        raise InputError(f"the network cannot take a batch of shape {shape}: {' '.join(str(error).split())}") from error


def _input_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """J, the gradient of the sum of all logits with respect to each image, ``(N, …)``; zero where nothing connects."""
    if not logits.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def _label_gram(logits: Tensor, targets: Tensor, x: Tensor, calls: list[Call], full: bool) -> Tensor:
    """The HNAS kernel: Gram matrix of each image's share of the gradient of the summed label logits."""
    gram = ShareGram(calls, len(x), full=full)
    share_gram(logits.gather(1, targets[:, None]).sum(), logits, x, calls, gram)
    return gram.finish()


def _loss_backward(
    network: nn.Module,
    loss: Tensor,
    calls: list[Call],
    wanted: Collection[str],
    clock: Clock,
    projection: Projection | None,
) -> dict[str, Any]:
    layers = counted_layers(network)
    weights = {name: layer.weight for name, layer in layers.items()}
    saliency: dict[str, Tensor] = {}

    def saliency_of(call: Call) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            value = _channel_saliency(call, gradient.detach())
            saliency[call.name] = saliency[call.name] + value if call.name in saliency else value

        return hook

    handles = []
    if "channel_saliency" in wanted:
        handles = [c.output.register_hook(saliency_of(c)) for c in calls if c.output.requires_grad]
    curvature = "weight_curvature" in wanted
    with clock("loss backward"):
        gradients = dict(
            zip(
                weights,
                torch.autograd.grad(loss, list(weights.values()), create_graph=curvature, allow_unused=True),
                strict=True,
            )
        )
    for handle in handles:
        handle.remove()
    results: dict[str, Any] = {"channel_saliency": saliency}
    if curvature:
        with clock("curvature"):
            results["weight_curvature"] = weight_curvature(weights, gradients, projection)
    results["weight_gradients"] = {
        name: torch.zeros_like(weights[name]) if g is None else g.detach() for name, g in gradients.items()
    }
    return results


def _channel_saliency(call: Call, gradient: Tensor) -> Tensor:
    """1/2 mean over images of (sum over positions of z * dL/dz)^2 for each channel (Theis et al. 2018)."""
    with torch.no_grad():
        product = full_precision(call.output.detach() * gradient)
        if isinstance(call.layer, nn.Conv2d):
            summed = product.permute(0, 2, 3, 1).flatten(1, 2).sum(1)
        else:
            summed = product.reshape(len(product), -1, product.shape[-1]).sum(1)
        return summed.square().mean(0) / 2


def multiply_adds(call: Call) -> int:
    """Multiply-adds of one image through one call: the convolution without its bias, a linear layer with it."""
    if isinstance(call.layer, nn.Conv2d):
        positions = call.output.shape[2:].numel()
        return call.layer.weight.numel() * positions
    positions = call.output[0].numel() // call.layer.out_features
    return (call.layer.weight.numel() + (0 if call.layer.bias is None else call.layer.out_features)) * positions
