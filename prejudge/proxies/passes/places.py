"""The search for the images: where in the tensors of a forward pass they lie.

Two forward passes of a copy with random weights, the second with every image in the place of the next one, say it for
every tensor by comparison: sequence-first tokens, heads and windows folded into the batch, tensors that hold no image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.network.call_adapter import turn_inputs
from prejudge.proxies.network.observer import observed
from prejudge.proxies.network.operations import OTHER_PATH, Observation, Operation, Places
from prejudge.proxies.network.placement import Placement, find_placement
from prejudge.proxies.passes.logits import run
from prejudge.proxies.score import ScoreFailure


def find_places(network: nn.Module, inputs: Tensor, undisturbed: Callable[[], AbstractContextManager[None]]) -> Places:
    """The places of the images in what operations and activations read.

    Args:
        network: In training mode.
        inputs: The batch; its shape, type and device are read.
        undisturbed: Makes the context of a pass, in which random draws are always the same ones.
    """
    try:  # in float64: rounding may grow from layer to layer, and would look like other images
        precise = inputs if inputs.device.type == "mps" else inputs.double()
        first, second = (_recorded(network, precise, turn, undisturbed) for turn in (0, 1))
    except InputError:  # the network makes tensors of a type of its own
        first, second = (_recorded(network, inputs, turn, undisturbed) for turn in (0, 1))
    n = len(inputs)
    for one, other in ((first.operations, second.operations), (first.activations, second.activations)):
        if len(one) != len(other):
            raise ScoreFailure(OTHER_PATH)

    def place(given: Tensor, turned: Tensor) -> Placement | None:
        return find_placement(given, turned, n)

    operations = zip(first.operations, second.operations, strict=True)
    activations = zip(first.activations, second.activations, strict=True)
    return Places(
        tuple((place(a.inputs, b.inputs), place(_values(a), _values(b))) for a, b in operations),
        tuple(place(a, b) for a, b in activations),
    )


def _values(operation: Operation) -> Tensor:
    return operation.output.detach() if operation.values is None else operation.values


def _recorded(
    network: nn.Module, inputs: Tensor, turn: int, undisturbed: Callable[[], AbstractContextManager[None]]
) -> Observation:
    twin = copy.deepcopy(network).to(inputs.dtype)
    with undisturbed():
        with torch.no_grad():
            for parameter in twin.parameters():
                # Not the weights themselves: zeros of an initialization would hide the images.
                if parameter.dim() > 1:
                    parameter.normal_(0, max(parameter[0].numel(), 1) ** -0.5)
                else:
                    parameter.uniform_(0.5, 1.5)
        turn_inputs(twin, turn)
        images = torch.randn_like(inputs).roll(turn, 0).requires_grad_()
    # with the random draws of the pass that is to come
    with undisturbed(), observed(twin, images, search=True) as observation:
        run(twin, images)
    return observation
