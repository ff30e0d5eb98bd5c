"""The shared pass: one forward, up to three backwards, and everything that the first-order proxies read from them.

Batch norm uses the batch's own statistics and is differentiated through, as every original does. The backwards are
those of the summed logits (for the input gradient), of the label logits (for the HNAS kernel) and of the mean
cross-entropy (for weight gradients and saliencies); the last one is differentiated again where GraSP asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.kernels.double_backward import Projection, cheap_double_backward
from prejudge.proxies.kernels.share_gram import ShareGram, image_rows, images_are_coupled, send_back
from prejudge.proxies.network.activation_functions import RELUS
from prejudge.proxies.network.call_adapter import NO_INPUT_GRADIENT
from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import by_repeat, each_repeat
from prejudge.proxies.network.observer import observed
from prejudge.proxies.network.operations import Observation, Operation, Places
from prejudge.proxies.network.weights import (
    Reading,
    behind,
    hides_weights,
    product_nodes,
    prunable_weights,
    reading_of,
    unseen_reader,
)
from prejudge.proxies.passes.activations import KERNELS, ActivationWatch
from prejudge.proxies.passes.clock import Clock
from prejudge.proxies.passes.curvature import weight_curvature
from prejudge.proxies.passes.input_gradient import input_gradient
from prejudge.proxies.passes.logits import run
from prejudge.proxies.passes.loss import BatchLoss
from prejudge.proxies.passes.memory import Limits
from prejudge.proxies.passes.saliency import ChannelSaliency
from prejudge.proxies.quantities import OF_THE_LOSS, Quantity
from prejudge.proxies.score import ScoreFailure

_OF_LABELS: frozenset[Quantity] = frozenset({"label_kernel", "label_kernel_diagonal"})
_BY_IMAGE: frozenset[Quantity] = _OF_LABELS | {"channel_saliency"}
_OBSERVED = _BY_IMAGE | OF_THE_LOSS | set(KERNELS)


@dataclass
class FirstOrder:
    """The results of a shared pass.

    Attributes:
        values: For each quantity the values of all repeats; a failure where this network has none.
        weights: The prunable weights by name; None where the pass did not look for them, or did not see all.
        remarks: What was done in a slow way, by quantity.
        weights_per_channel: How many weights a channel of ``channel_saliency`` has.
    """

    values: dict[Quantity, Sequence[Any]] = field(default_factory=dict)
    weights: dict[str, nn.Parameter] | None = None
    remarks: dict[Quantity, list[str]] = field(default_factory=dict)
    weights_per_channel: dict[str, int] = field(default_factory=dict)


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
    loss: BatchLoss | None = None,
    places: Places | None = None,
    cheap: bool = True,
    activations: Collection[str] = RELUS,
) -> FirstOrder:
    """Run the passes that ``wanted`` needs, each once. Nothing in here waits for the device.

    Args:
        network: In training mode; may be changed in its buffers.
        inputs: Images ``(N * R, C, H, W)``, or any floating tensor with the batch first; repeats take turns.
        targets: The targets ``(N * R, …)``; None where no wanted quantity reads them.
        wanted: Keys of :data:`~prejudge.proxies.quantities.FIRST_ORDER`.
        clock: Takes the time of each stage.
        autocast: Makes the context of the forward pass (a no-op context, or bf16).
        repeats: R, the number of networks that ``network`` holds.
        limits: How much is held at once; default: little.
        loss: The loss; default: cross-entropy.
        places: Of the images, where an earlier pass found them.
        cheap: Whether convolutions and batch norms are differentiated twice at little cost; they then keep their
            outputs, and nothing may change these in place.
        activations: The kinds of activations that count in the activation kernels.

    Returns:
        The values of ``wanted``. The graph and all activations are gone when it returns.

    Raises:
        Unplaced: The places of the images must be found first.
    """
    asked = set(wanted)
    x = inputs.detach().requires_grad_()
    found = FirstOrder()
    values = found.values
    observation = Observation(len(x) // repeats)
    watch, projection = None, None

    with ExitStack() as stack:
        stack.enter_context(clock("forward"))
        stack.enter_context(autocast())
        if cheap and "weight_curvature" in asked and x.device.type in ("cpu", "cuda"):
            projection = stack.enter_context(cheap_double_backward(network))
        if asked & _OBSERVED:
            lenient = not asked & (_BY_IMAGE | set(KERNELS))
            observing = observed(network, x, repeats=repeats, places=places, lenient=lenient)
            observation = stack.enter_context(observing)
        if asked & set(KERNELS):
            watch = stack.enter_context(ActivationWatch(wanted, repeats, clock, observation, activations))
        logits = run(network, x)
    loss = loss or BatchLoss()
    if targets is not None:
        loss.check(logits, targets)
    if watch is not None:
        with clock("activations"):
            try:
                values |= {name: list(kernels) for name, kernels in watch.results(logits).items()}
            except ScoreFailure as failure:
                values |= {name: [failure] * repeats for name in watch.wanted}
            found.remarks |= {name: [watch.remark] for name in watch.wanted if watch.remark}
    if "logits" in asked:
        values["logits"] = list(by_repeat(logits.detach(), repeats))
    if "input_gradient" in asked:
        with clock("input backward"):
            try:
                values["input_gradient"] = list(by_repeat(input_gradient(logits, x), repeats))
            except ScoreFailure as failure:
                values["input_gradient"] = [failure] * repeats
    if asked & OF_THE_LOSS | asked & _OF_LABELS:
        found.weights = prunable_weights(network, observation)
    if targets is not None and asked & OF_THE_LOSS | asked & _OF_LABELS:
        ledger = _Ledger(network, observation, logits, x, found, repeats)
        if asked & _OF_LABELS:
            with clock("label backward"):
                if reason := loss.no_labels(logits, targets):
                    ledger.fail(reason, *_OF_LABELS)
                else:
                    ledger.label_kernel(targets, "label_kernel" in asked, (limits or Limits()).images, projection)
    if targets is not None and asked & {"loss", *OF_THE_LOSS}:
        losses, parts = loss.of(logits, targets, repeats)
        values["loss"] = list(losses.detach())
        if asked & OF_THE_LOSS:
            with clock("loss backward"):
                ledger.of_the_loss(losses.sum(), parts, asked, clock, projection)
    found.values = {name: values[name] for name in wanted}
    return found


class _Ledger:
    """The quantities that are taken apart by weight, and whether each weight was seen."""

    def __init__(
        self,
        network: nn.Module,
        observation: Observation,
        logits: Tensor,
        x: Tensor,
        found: FirstOrder,
        repeats: int,
    ):
        assert found.weights is not None
        self.found = found
        self.weights, self.values, self.remarks = found.weights, found.values, found.remarks
        self.observation, self.logits, self.x, self.repeats = observation, logits, x, repeats
        self.unseen = ""  # why a gradient by image is not known
        self.unknown = ""  # why not even the prunable weights are
        if repeats == 1:
            self.unseen, parameters = unseen_reader(network, logits, x, observation)
            if hides_weights(network, parameters):
                self.unknown = self.unseen
                found.weights = None

    @cached_property
    def reading(self) -> Reading:
        """The way the parameters are read."""
        return reading_of(self.observation, scales=False)

    def label_kernel(self, targets: Tensor, full: bool, images_at_once: int, projection: Projection | None) -> None:
        """The kernel of the label logits' gradient shares, or its diagonal alone."""
        scores = self.logits.gather(1, targets[:, None])
        products = [operation for operation in self.observation.operations if operation.is_product]
        stops = product_nodes(self.observation)
        ids = {id(p) for p in self.weights.values()}
        for operation in products:
            if operation.bias is not None and any(id(p) in ids for p, _ in behind(operation.weight, stops)):
                ids |= {id(p) for p, _ in behind(operation.bias, stops)}
        ids |= {id(p) for _, weights in self.observation.whole for w in weights for p, _ in behind(w, stops)}
        slow = self._slow(ids, "label_kernel", "label_kernel_diagonal")
        if slow is None:
            return
        gram = ShareGram(
            products,
            self.observation,
            ids & self.reading.placed,
            self.repeats,
            full=full,
            images_at_once=images_at_once,
        )
        send_back(scores.sum(), self.logits, self.x, [o for o in products if gram.reads(o)], gram.add)
        with projection.whole_gradients() if projection is not None else nullcontext():
            slow_rows = image_rows(scores[:, 0], slow)
        for rows in slow_rows:
            gram.add_rows(rows)
        matrix = gram.finish()
        self.values["label_kernel_diagonal"] = list(matrix.diagonal(dim1=1, dim2=2) if full else matrix)
        self.values["label_kernel"] = list(matrix) if full else []

    def _slow(self, ids: Collection[int], *quantities: Quantity) -> list[Tensor] | None:
        """Which parameters need a backward pass for each image; None where that fails the quantities."""
        slow = {id(p): p for p in self._parameters() if id(p) in ids and id(p) in self.reading.by_image}
        reason, names = self.unseen, self.reading.functions(slow.values())
        if slow and not reason:
            reason = self._coupling(names)
        if reason:
            self.fail(reason, *quantities)
            return None
        if slow:
            for quantity in quantities:
                self.remarks.setdefault(quantity, []).append(
                    f"one backward pass for each image for {len(slow)} parameters ({names})"
                )
        return list(slow.values())

    def _parameters(self) -> list[Tensor]:
        nodes = nodes_above(self.logits)
        return [node.variable for node in nodes if getattr(node, "variable", None) is not None]

    def _coupling(self, names: str) -> str:
        if self.observation.coupling:
            return f"{self.observation.coupling} couples the images, and no convention says what is whose in {names}"
        if not self.observation.apart and not self.x.numel():
            return f"nothing tells whether the images depend on each other: {NO_INPUT_GRADIENT}"
        if not self.observation.apart and images_are_coupled(self.logits, self.x):
            return f"the images depend on each other, and no convention says what is whose in {names}"
        return ""

    def fail(self, reason: str, *quantities: Quantity) -> None:
        """Let quantities fail."""
        for quantity in quantities:
            self.values[quantity] = [ScoreFailure(reason)] * self.repeats

    def of_the_loss(
        self,
        loss: Tensor,
        parts: Callable[[], Tensor],
        asked: Collection[Quantity],
        clock: Clock,
        projection: Projection | None,
    ) -> None:
        """Weight gradients, channel saliencies and, where asked for, the curvature, by repeat."""
        if self.unknown:
            return self.fail(self.unknown, *OF_THE_LOSS)
        saliency: ChannelSaliency | None = None
        unplaced: list[Operation] = []
        if "channel_saliency" not in asked:
            self.observation.forget()  # so that the backward pass frees what it has read
        if "channel_saliency" in asked:
            reason = self.unseen or ChannelSaliency.refusal(self.observation)
            unplaced = [o for o in self.observation.operations if o.is_product and not o.placed]
            if unplaced and not reason:
                reason = self._coupling(", ".join(dict.fromkeys(o.function for o in unplaced)))
            if reason:
                self.fail(reason, "channel_saliency")
            else:
                saliency = ChannelSaliency(self.observation, self.weights, self.repeats)
        weights, curvature = list(self.weights.values()), "weight_curvature" in asked
        with saliency.listening() if saliency is not None else nullcontext():
            kept = curvature or bool(saliency is not None and unplaced)
            gradients = torch.autograd.grad(loss, weights, create_graph=curvature, retain_graph=kept, allow_unused=True)
        if saliency is not None:
            each = parts() if unplaced else self.logits.new_empty(0)
            self.values["channel_saliency"] = each_repeat(saliency.finish(each), self.repeats)
            self.found.weights_per_channel = saliency.weights_per_channel
        by_name = dict(zip(self.weights, gradients, strict=True))
        if curvature:
            with clock("curvature"):
                products = weight_curvature(dict(self.weights), by_name, projection, self.repeats)
                self.values["weight_curvature"] = each_repeat(products, self.repeats)
        of_weights = {}
        for name, weight in self.weights.items():
            gradient = by_name[name]
            gradient = torch.zeros_like(weight) if gradient is None else gradient.detach()
            of_weights[name] = gradient if self.repeats > 1 else gradient[None]
        self.values["weight_gradients"] = each_repeat(of_weights, self.repeats)
