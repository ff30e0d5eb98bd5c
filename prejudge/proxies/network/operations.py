"""The operations on weights in a forward pass: what is recorded of each, and of the pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prejudge.proxies.network.placement import IMAGES_FIRST, NOWHERE, Placement
from prejudge.proxies.score import ScoreFailure

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
SCALES: dict[str, tuple[int, int, int | None]] = {
    "layer_norm": (0, 2, 3),
    "group_norm": (0, 2, 3),
    "rms_norm": (0, 2, None),
    "prelu": (0, 1, None),
}
"""Functions that scale with a weight which is no matrix: positions of data, weight and bias."""

CONSTANT, IMAGES, UNKNOWN = 0, 1, 2
MARK = "_prejudge_images"
OTHER_PATH = "the network takes another path for other images, so their places in its tensors cannot be found"


class Unplaced(Exception):
    """An operation read a tensor whose images are in no known place; they have to be found first."""


@dataclass(frozen=True)
class Places:
    """The places of the images in what the operations and activations of a forward pass read, in execution order.

    Attributes:
        operations: For each operation those of its data and of its output; None where there is none.
        activations: For each activation that of its input.
    """

    operations: tuple[tuple[Placement | None, Placement | None], ...]
    activations: tuple[Placement | None, ...]


@dataclass(eq=False)
class Operation:
    """One operation of data with a weight.

    Attributes:
        function: Its name, as ``"conv2d"``.
        inputs: The data, detached: ``(N * R, C, H, W)``, ``(N * R, …, D)`` or any other form.
        weight: The weight as the operation read it, part of the autograd graph.
        bias: The bias that it added, if any.
        output: What it returned, part of the autograd graph.
        again: The operation on other data, weight and bias.
        place: Where the data hold the images; None where that is not known.
        output_place: Where the output holds them.
        options: Stride, padding, dilation and groups of a convolution.
        listeners: Called with the gradient of the output.
        values: The output's values, where a function changed them in place later.
    """

    function: str
    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    output: Tensor
    again: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    place: Placement | None = IMAGES_FIRST
    output_place: Placement | None = IMAGES_FIRST
    options: dict[str, Any] = field(default_factory=dict)
    listeners: list[Callable[[Tensor], None]] = field(default_factory=list)
    values: Tensor | None = None

    def __post_init__(self) -> None:
        self.version = self.output._version
        if self.output.requires_grad:  # now: a function that works in place may change the output later
            # A linear layer's output of three dimensions is a view: what works on it in place would drop its hooks.
            base = self.output._base
            whole = base is not None and base.numel() == self.output.numel() and base.is_contiguous()
            held = base if base is not None and whole and self.output.is_contiguous() else self.output
            held.register_hook(_reporter(weakref.ref(self), self.output.shape))

    @property
    def values_are_lost(self) -> bool:
        """Whether something else than a function of the whole output changed it in place."""
        return self.values is None and self.output._version != self.version

    @property
    def is_product(self) -> bool:
        """Whether its weight is a kernel or a matrix, and not the scale of a normalization."""
        return self.function not in SCALES

    @property
    def placed(self) -> bool:
        """Whether both its data and its output hold the images in known places."""
        return self.place not in (None, NOWHERE) and self.output_place not in (None, NOWHERE)


def _reporter(operation: weakref.ref[Operation], shape: torch.Size) -> Callable[[Tensor], None]:
    # By a weak reference: the graph holds its hooks, and an operation its part of the graph.
    def report(gradient: Tensor) -> None:
        alive = operation()
        for listener in alive.listeners if alive is not None else ():
            listener(gradient.reshape(shape))

    return report


@dataclass(eq=False)
class Observation:
    """The record of what an observed forward pass did with weights.

    Attributes:
        images: N.
        operations: Those of data with one weight, in execution order.
        whole: Other functions that take weights as matrices, as recurrent layers do: name and weights.
        elsewhere: Functions that read weights as no matrices, as a sum does: name and weights.
        unknown: Functions that read something with the form of a matrix and are not known: name and weights.
        readers: Every function that read a parameter or a function of parameters alone: the graph nodes of its output
            and of what it was given.
        derived: The graph nodes of functions of parameters alone.
        activations: What the activations read, where places are searched.
        coupling: The function that brings images together, as batch norm does; empty where none does.
        apart: Whether every function is known to leave every image by itself, but for ``coupling``.
        places: Where the images are, where an earlier pass found them.
        lenient: Whether places that are not known stay so.
    """

    images: int
    operations: list[Operation] = field(default_factory=list)
    whole: list[tuple[str, list[Tensor]]] = field(default_factory=list)
    elsewhere: list[tuple[str, list[Tensor]]] = field(default_factory=list)
    unknown: list[tuple[str, list[Tensor]]] = field(default_factory=list)
    readers: list[tuple[Any, set[Any]]] = field(default_factory=list)
    derived: set[Any] = field(default_factory=set)
    activations: list[Tensor] = field(default_factory=list)
    coupling: str = ""
    apart: bool = True
    places: Places | None = None
    lenient: bool = False
    _activations: int = 0

    def add(self, operation: Operation, data: Tensor) -> None:
        """Keep an operation on ``data``; raises :class:`Unplaced` where the place of its images must be found."""
        if self.lenient:
            found: tuple[Placement | None, Placement | None] = self._place(data), self._place(operation.output)
        elif self.places is not None:
            if len(self.operations) >= len(self.places.operations):
                raise ScoreFailure(OTHER_PATH)
            found = self.places.operations[len(self.operations)]
        else:
            found = self._place(data), self._place(operation.output)
        operation.place, operation.output_place = found
        self.operations.append(operation)

    def forget(self) -> None:
        """Let go of all tensors."""
        for seen in (self.operations, self.whole, self.elsewhere, self.unknown, self.readers, self.activations):
            seen.clear()

    def place_of_activation(self, x: Tensor, *, counts: bool = True) -> Placement | None:
        """Where the next activation's input holds the images; raises :class:`Unplaced` where that must be found.

        Args:
            x: The input.
            counts: Whether its place is wanted; it is an activation among the others in any case.
        """
        self._activations += 1
        if not counts:
            return NOWHERE
        if self.places is None:
            return self._place(x)
        if self._activations > len(self.places.activations):
            raise ScoreFailure(OTHER_PATH)
        return self.places.activations[self._activations - 1]

    def _place(self, x: Tensor) -> Placement | None:
        mark = mark_of(x)
        if mark == CONSTANT:
            return NOWHERE
        if mark == IMAGES:
            return IMAGES_FIRST
        if self.images == 1 and x.dim():
            return Placement(0, 1, len(x))
        if not self.lenient:
            raise Unplaced
        return None


def mark_of(x: Tensor) -> int:
    """The knowledge about a tensor: without images, with the images first, or neither known.

    A tensor that no observed function made is unknown if it has a history, and a constant or parameter if it has none.
    An autograd function that leaves every image in its place says so with an attribute ``keeps_images = True``.
    """
    mark: int | None = getattr(x, MARK, None)
    if mark is None and x.grad_fn is not None:
        function = getattr(x.grad_fn, "_forward_cls", None)
        mark = IMAGES if getattr(function, "keeps_images", False) else UNKNOWN
    return CONSTANT if mark is None else mark
