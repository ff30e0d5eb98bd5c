"""The shared pass: one forward, up to three backwards, and everything that the first-order proxies read from them.

Batch norm uses the batch's own statistics and is differentiated through, as every original does. The backwards are
those of the summed logits (for the input gradient), of the label logits (for the HNAS kernel) and of the mean
cross-entropy (for weight gradients and saliencies); the last one is differentiated again where GraSP asks for it.

Each backward by itself needs the least arithmetic and memory, which counts on a CPU. As one batched product of a vector
with the Jacobian they need the launches of one, which counts on a GPU. The values are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.kernels.double_backward import Projection, cheap_double_backward
from prejudge.proxies.kernels.per_sample import ShareGram, share_gram
from prejudge.proxies.passes.activations import KERNELS, ActivationWatch
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.passes.curvature import weight_curvature
from prejudge.proxies.passes.image_by_image import Unstackable
from prejudge.proxies.passes.layers import Call, by_repeat, counted_layers, full_precision, recorded_calls
from prejudge.proxies.passes.logits import class_scores
from prejudge.proxies.passes.memory import Limits

_BATCHED = "batched backward"

STAGES: dict[str, tuple[str, ...]] = {
    "logits": ("forward",),
    "multiply_adds": ("forward",),
    "activation_kernel": ("forward", "rectifiers"),
    "preactivation_kernel": ("forward", "rectifiers"),
    "input_gradient": ("forward", _BATCHED, "input backward"),
    "label_kernel": ("forward", _BATCHED, "label backward"),
    "label_kernel_diagonal": ("forward", _BATCHED, "label backward"),
    "loss": ("forward",),
    "weight_gradients": ("forward", _BATCHED, "loss backward"),
    "channel_saliency": ("forward", _BATCHED, "loss backward"),
    "weight_curvature": ("forward", "loss backward", "curvature"),
}
"""Every quantity of the shared pass, with the stages that it costs; the batched one where the backwards run as one."""


def first_order(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    wanted: Collection[str],
    clock: Clock,
    autocast: Callable[[], Any],
    *,
    repeats: int = 1,
    limits: Limits | None = None,
    largest_label: int | None = None,
) -> dict[str, Sequence[Any]]:
    """Run the passes that ``wanted`` needs, each once. Nothing in here waits for the device.

    Args:
        network: In training mode; may be changed in its buffers.
        inputs: Images ``(N * R, C, H, W)``, or any floating tensor with the batch first; repeats take turns.
        targets: Class indices ``(N * R,)``; None where no wanted quantity reads them.
        wanted: Keys of :data:`STAGES`.
        clock: Takes the time of each stage.
        autocast: Makes the context of the forward pass (a no-op context, or bf16).
        repeats: R, the number of networks that ``network`` holds.
        limits: How much is held at once; default: little.
        largest_label: Of ``targets``, to be compared with the number of classes.

    Returns:
        ``wanted`` and the values for each repeat. The graph and all activations are gone when it returns.
    """
    x = inputs.detach().requires_grad_()
    need_calls = {"label_kernel", "label_kernel_diagonal", "channel_saliency", "multiply_adds"} & set(wanted)
    watch = ActivationWatch(wanted, repeats, clock) if set(KERNELS) & set(wanted) else None
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
        logits = class_scores(_forward(network, x), largest_label)
    if watch is not None:
        with clock("rectifiers"):
            kernels = watch.results(logits)
        results |= {name: [None] * repeats if k is None else list(k) for name, k in kernels.items()}
    if "logits" in wanted:
        results["logits"] = list(by_repeat(logits.detach(), repeats))
    if "multiply_adds" in wanted:
        results["multiply_adds"] = [sum(multiply_adds(call, repeats) for call in calls)] * repeats

    backwards = _Backwards(network, x, logits, calls, repeats, clock, wanted)
    if "input_gradient" in wanted:
        backwards.add("input backward", logits.sum())
    if targets is not None:
        if {"label_kernel", "label_kernel_diagonal"} & set(wanted):
            backwards.add("label backward", logits.gather(1, targets[:, None]).sum())
        if {"loss", *_OF_THE_LOSS} & set(wanted):
            each = F.cross_entropy(full_precision(logits), targets, reduction="none")
            losses = by_repeat(each, repeats).mean(1)
            results["loss"] = list(losses.detach())
            if _OF_THE_LOSS & set(wanted):
                backwards.add("loss backward", losses.sum())
    results |= backwards.run(limits or Limits(), projection)
    return {name: results[name] for name in wanted}


_OF_THE_LOSS = {"weight_gradients", "channel_saliency", "weight_curvature"}


def _forward(network: nn.Module, x: Tensor) -> Any:
    try:
        return network(x)
    except (torch.OutOfMemoryError, Unstackable):
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        shape = tuple(x.shape)
        raise InputError(f"the network cannot take a batch of shape {shape}: {' '.join(str(error).split())}") from error


class _Backwards:
    """The backwards of one forward pass: of up to three scalars, one after the other or as one."""

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        logits: Tensor,
        calls: list[Call],
        repeats: int,
        clock: Clock,
        wanted: Collection[str],
    ):
        self.x, self.logits, self.calls, self.repeats = x, logits, calls, repeats
        self.clock, self.wanted = clock, wanted
        self.weights = {name: layer.weight for name, layer in counted_layers(network).items()}
        self._scalars: dict[str, Tensor] = {}

    def add(self, stage: str, scalar: Tensor) -> None:
        """Ask for the backward of a scalar."""
        self._scalars[stage] = scalar

    def run(self, limits: Limits, projection: Projection | None) -> dict[str, Sequence[Any]]:
        """All that is wanted of them, by repeat."""
        results: dict[str, Sequence[Any]] = {}
        together = self._together() if limits.batched else {}
        for stage in self._scalars:
            with self.clock(stage):
                given = together.get(stage)
                if stage == "input backward":
                    results["input_gradient"] = list(by_repeat(self._input_gradient(given), self.repeats))
                elif stage == "label backward":
                    results |= self._label_grams(given, limits)
                else:
                    results |= self._of_the_loss(given, projection)
        return results

    def _together(self) -> dict[str, _Gradients]:
        """The gradients of all scalars that are differentiated once, where there are several."""
        stages = [s for s in self._scalars if s != "loss backward" or "weight_curvature" not in self.wanted]
        stages = [s for s in stages if self._scalars[s].requires_grad]
        if len(stages) < 2:
            return {}
        outputs = [call.output for call in self.calls if call.output.requires_grad]
        weights = list(self.weights.values()) if "loss backward" in stages else []
        scalars = torch.stack([self._scalars[stage].to(self.logits.dtype) for stage in stages])
        seeds = torch.eye(len(stages), dtype=scalars.dtype, device=scalars.device)
        with self.clock(_BATCHED):
            # A hook would see all scalars' gradients in one tensor; so gradients at the calls are asked for by name.
            found = torch.autograd.grad(
                scalars,
                [self.x, *outputs, *weights],
                seeds,
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
        rows: list[list[Tensor | None]] = [[None if g is None else g[i] for g in found] for i in range(len(stages))]
        last = 1 + len(outputs)
        return {stage: _Gradients(row[0], row[1:last], row[last:]) for stage, row in zip(stages, rows, strict=True)}

    def _input_gradient(self, given: _Gradients | None) -> Tensor:
        """J, the gradient of the sum of all logits for each image, ``(N * R, …)``; zero where nothing connects."""
        scalar, gradient = self._scalars["input backward"], None
        if given is not None:
            gradient = given.inputs
        elif scalar.requires_grad:
            (gradient,) = torch.autograd.grad(scalar, self.x, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self.x) if gradient is None else gradient

    def _label_grams(self, given: _Gradients | None, limits: Limits) -> dict[str, Sequence[Any]]:
        """The HNAS kernel: Gram matrix of each image's share of the gradient of the summed label logits."""
        full = "label_kernel" in self.wanted
        images = len(self.x) // self.repeats
        gram = ShareGram(self.calls, images, self.repeats, full=full, images_at_once=limits.images)
        if given is None:
            share_gram(self._scalars["label backward"], self.logits, self.x, self.calls, gram)
        else:
            self._report(given, lambda call, gradient: gram.add(call, gradient))
        found = gram.finish()
        diagonals = found.diagonal(dim1=1, dim2=2) if full else found
        return {"label_kernel": list(found) if full else [], "label_kernel_diagonal": list(diagonals)}

    def _of_the_loss(self, given: _Gradients | None, projection: Projection | None) -> dict[str, Sequence[Any]]:
        saliency: dict[str, Tensor] = {}

        def add(call: Call, gradient: Tensor) -> None:
            value = _channel_saliency(call, gradient.detach(), self.repeats)
            saliency[call.name] = saliency[call.name] + value if call.name in saliency else value

        curvature = "weight_curvature" in self.wanted
        observed = self.calls if "channel_saliency" in self.wanted else []
        results: dict[str, Sequence[Any]] = {}
        if given is None:
            hooks = [c.output.register_hook(_passing(add, c)) for c in observed if c.output.requires_grad]
            weights = list(self.weights.values())
            found: Sequence[Tensor | None] = torch.autograd.grad(
                self._scalars["loss backward"], weights, create_graph=curvature, allow_unused=True
            )
            for hook in hooks:
                hook.remove()
        else:
            found = given.weights
            if observed:
                self._report(given, add)
        gradients = dict(zip(self.weights, found, strict=True))
        if curvature:
            with self.clock("curvature"):
                second = weight_curvature(self.weights, gradients, projection, self.repeats)
            results["weight_curvature"] = self._each(second)
        results["weight_gradients"] = self._each(
            {name: self._by_repeat(self.weights[name], g) for name, g in gradients.items()}
        )
        results["channel_saliency"] = self._each(saliency)
        return results

    def _report(self, given: _Gradients, take: Callable[[Call, Tensor], None]) -> None:
        """Hand over the gradients at the calls, the last call first, as a backward pass meets them."""
        reached = [call for call in self.calls if call.output.requires_grad]
        with torch.no_grad():
            for call, gradient in reversed(list(zip(reached, given.outputs, strict=True))):
                if gradient is not None:
                    take(call, gradient)

    def _by_repeat(self, weight: Tensor, gradient: Tensor | None) -> Tensor:
        gradient = torch.zeros_like(weight) if gradient is None else gradient.detach()
        return gradient if self.repeats > 1 else gradient[None]

    def _each(self, values: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        return [{name: value[r] for name, value in values.items()} for r in range(self.repeats)]


@dataclass(frozen=True)
class _Gradients:
    """Of one scalar: for the images, for the outputs of the calls, and for the counted weights."""

    inputs: Tensor | None
    outputs: list[Tensor | None]
    weights: list[Tensor | None]


def _passing(take: Callable[[Call, Tensor], None], call: Call) -> Callable[[Tensor], None]:
    return lambda gradient: take(call, gradient)


def _channel_saliency(call: Call, gradient: Tensor, repeats: int) -> Tensor:
    """1/2 mean over images of (sum over positions of z * dL/dz)^2 for each channel, ``(R, C)`` (Theis et al. 2018)."""
    with torch.no_grad():
        product = full_precision(call.output.detach() * gradient)
        if isinstance(call.layer, nn.Conv2d):
            summed = product.permute(0, 2, 3, 1).flatten(1, 2).sum(1)
        else:
            summed = product.reshape(len(product), -1, product.shape[-1]).sum(1)
        return by_repeat(summed, repeats).square().mean(1) / 2


def multiply_adds(call: Call, repeats: int = 1) -> int:
    """Multiply-adds of one image through one call: the convolution without its bias, a linear layer with it."""
    weights = call.layer.weight.numel() // repeats
    if isinstance(call.layer, nn.Conv2d):
        return weights * call.output.shape[2:].numel()
    positions = call.output[0].numel() // call.layer.out_features
    return (weights + (0 if call.layer.bias is None else call.layer.out_features)) * positions
