"""The prunable weights of a network, and whether everything that its logits depend on was seen.

A prunable weight is the kernel or matrix of an operation: of a convolution, linear layer, matrix product, attention or
recurrent layer. Scales of normalizations, biases, embeddings and what is added to activations are none. Where an
operation reads a function of a parameter (a slice, a standardized kernel), the parameter is the weight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prejudge.proxies.network.graph import nodes_above
from prejudge.proxies.network.layers import StackedLayer
from prejudge.proxies.network.operations import Observation

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
_WITHOUT_SURPRISES = frozenset(
    {
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
        nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.PReLU,
    }
)  # fmt: skip
_REARRANGING = frozenset(
    f"{name}Backward0" for name in (
        "Alias", "AsStrided", "Cat", "Clone", "Diagonal", "Expand", "Flip", "Permute", "Repeat", "ReshapeAlias", "Roll",
        "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "T", "ToCopy", "Transpose", "Unbind",
        "Unfold", "Unsqueeze", "UnsafeSplit", "UnsafeView", "View", "Copy", "Detach", "Narrow", "MoveDim", "CopySlices",
    )
)  # fmt: skip
_LOOKUPS = frozenset(f"{name}Backward0" for name in ("Embedding", "Index", "IndexSelect", "Gather"))


def has_surprises(network: nn.Module) -> bool:
    """Whether only a forward pass can tell which of the network's parameters are prunable weights."""
    return any(
        type(module) not in _WITHOUT_SURPRISES and not isinstance(module, StackedLayer)
        for module in network.modules()
        if any(p is not None for p in module._parameters.values())
    )


def prunable_weights(network: nn.Module, observation: Observation | None = None) -> dict[str, nn.Parameter]:
    """Every prunable weight once, by the name of its module or else its own: first those of layers, executed or not.

    Args:
        network: The network.
        observation: Of its forward pass; without it the layers' weights alone are found.
    """
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None) if isinstance(module, _LAYERS) else None
        if isinstance(weight, nn.Parameter):
            found.setdefault(id(weight), (name, weight))
    if observation is not None:
        matrices = {id(p) for p in _matrices(observation)} - _packed(network)
        for name, parameter in network.named_parameters():
            if id(parameter) in matrices and id(parameter) not in found:
                found[id(parameter)] = (name.removesuffix(".weight"), parameter)
    return dict(found.values())


def biases_of(network: nn.Module, weights: Collection[int], observation: Observation | None = None) -> set[int]:
    """The ``id`` of the biases that go with weights: those of their modules, and of the operations on them.

    Args:
        network: The network.
        weights: ``id`` of each weight.
        observation: Of its forward pass; without it the modules' biases alone are found.
    """
    found = set()
    for module in network.modules():
        own = module._parameters  # named_parameters takes longer than all the rest
        if any(id(p) in weights for p in own.values()):
            found |= {id(p) for name, p in own.items() if name.startswith("bias") and p is not None}
    if observation is not None:
        stops = product_nodes(observation)
        for operation in observation.operations:
            bias = operation.bias if operation.is_product else None
            if bias is not None and any(id(p) in weights for p, _ in behind(operation.weight, stops)):
                found |= {id(p) for p, _ in behind(bias, stops)}
    return found - set(weights)


def hides_weights(network: nn.Module, unseen: Collection[int]) -> bool:
    """Whether a parameter that something out of sight reads may be a prunable weight, and no layer says that it is.

    Args:
        network: The network.
        unseen: ``id`` of each such parameter.
    """
    layers = {id(p) for p in prunable_weights(network).values()}
    matrices = [p for p in network.parameters() if sum(size > 1 for size in p.shape) > 1]
    return any(id(p) in unseen and id(p) not in layers for p in matrices)


def _packed(network: nn.Module) -> set[int]:
    """The input projections of ``nn.MultiheadAttention``, which zero-cost-nas does not count: no layer holds them."""
    attentions = [m for m in network.modules() if isinstance(m, nn.MultiheadAttention)]
    return {id(p) for m in attentions for name, p in m.named_parameters(recurse=False) if "proj_weight" in name}


def _matrices(observation: Observation) -> Iterable[Tensor]:
    stops = product_nodes(observation)
    operands = [o.weight for o in observation.operations if o.is_product]
    operands += [w for _, weights in observation.whole for w in weights if w.dim() > 1]
    for operand in operands:
        for parameter, rearranged in behind(operand, stops):
            if rearranged or sum(size > 1 for size in parameter.shape) > 1:  # not the gain of a standardized kernel
                yield parameter


def product_nodes(observation: Observation) -> set[Any]:
    """The graph nodes of the outputs of all products."""
    return {o.output.grad_fn for o in observation.operations if o.is_product and o.output.grad_fn is not None}


@dataclass(frozen=True)
class Reading:
    """The way the parameters of a forward pass are read.

    Attributes:
        placed: ``id`` of those that are weights or biases of operations alone whose images have known places.
        by_image: For the ``id`` of those whose gradient can be taken apart by image only by a backward pass for each,
            a function that reads them.
    """

    placed: frozenset[int]
    by_image: Mapping[int, str]

    def functions(self, parameters: Iterable[Tensor]) -> str:
        """The functions that read some parameters of ``by_image``, for messages."""
        return ", ".join(dict.fromkeys(self.by_image[id(p)] for p in parameters if id(p) in self.by_image))


def reading_of(observation: Observation, *, scales: bool) -> Reading:
    """The way the parameters of an observed pass are read.

    Args:
        observation: The pass.
        scales: Whether the scales of normalizations count as operations too.
    """
    stops = product_nodes(observation)
    placed: set[int] = set()
    by_image: dict[int, str] = {}
    for operation in observation.operations:
        if scales or operation.is_product:
            for operand in (operation.weight, operation.bias):
                for key in () if operand is None else (id(p) for p, _ in behind(operand, stops)):
                    if operation.placed:
                        placed.add(key)
                    else:
                        by_image[key] = operation.function
    for function, weights in (*observation.whole, *observation.elsewhere, *observation.unknown):
        for weight in weights:
            for parameter, _ in behind(weight, stops, through_lookups=True):
                by_image[id(parameter)] = function
    return Reading(frozenset(placed - by_image.keys()), by_image)


def behind(operand: Tensor, stops: Collection[Any] = (), *, through_lookups: bool = False) -> list[tuple[Tensor, bool]]:
    """The parameters that a tensor is a function of, and whether it only rearranges them.

    Args:
        operand: The tensor.
        stops: Nodes that are not followed: a weight that another product made is that product's matter.
        through_lookups: Whether what is looked up in a table counts as a function of the table.
    """
    if operand.grad_fn is None:
        return [(operand, True)] if operand.requires_grad else []
    found: dict[int, tuple[Tensor, bool]] = {}
    seen: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(operand.grad_fn, True)]
    while stack:
        node, rearranged = stack.pop()
        if node is None or node in seen or node in stops or (node.name() in _LOOKUPS and not through_lookups):
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found[id(variable)] = (variable, rearranged)
            continue
        stack += [(child, rearranged and node.name() in _REARRANGING) for child, _ in node.next_functions]
    return list(found.values())


def unseen_reader(network: nn.Module, logits: Tensor, x: Tensor, observation: Observation) -> tuple[str, set[int]]:
    """The first operation between parameters and logits that was not observed, and the parameters of all such.

    Custom autograd and TorchScript functions are such operations, and functions that no one knows.

    Returns:
        A sentence, empty where everything was seen, and the ``id`` of each of its parameters.
    """
    names = {id(p): name for name, p in network.named_parameters()}
    reason, unseen = "", set()
    for function, weights in observation.unknown:
        for weight in weights:
            for parameter, _ in behind(weight, through_lookups=True):
                unseen.add(id(parameter))
                name = names.get(id(parameter), "a weight")
                reason = reason or f"{function!r} reads {name} in a way that is not known"
    live = nodes_above(logits)
    covered = _covered(observation, live)
    for node in live:
        if node in covered or getattr(getattr(node, "_forward_cls", None), "keeps_images", False):
            continue
        for child, _ in node.next_functions:
            parameters: list[Any] = []
            if getattr(child, "variable", None) is not None and id(child.variable) in names:
                parameters = [child.variable]
            elif child in observation.derived:
                parameters = [p for p in _leaves(child) if id(p) in names]
            for parameter in parameters:
                unseen.add(id(parameter))
                reason = reason or f"{_plain(node)!r} reads {names[id(parameter)]} out of sight"
    return reason, unseen


def _covered(observation: Observation, live: set[Any]) -> set[Any]:
    """The nodes of observed operations, of those that still are part of a graph."""
    covered: set[Any] = set()
    for start, ends in observation.readers:
        stack = [start]
        while stack:
            node = stack.pop()
            if node is None or node not in live or node in covered or node in ends:
                continue
            covered.add(node)
            stack += [child for child, _ in node.next_functions]
    return covered


def _leaves(node: Any) -> list[Tensor]:
    found, seen, stack = [], set(), [node]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", None) is not None:
            found.append(node.variable)
        stack += [child for child, _ in node.next_functions]
    return found


def _plain(node: Any) -> str:
    return str(node.name()).removesuffix("0").removesuffix("Backward")
