"""From ISTA-NAS's one-stage supernet to the network of its genotype, with the same weights and the same outputs.

A weight in front of a batch norm is a factor of the norm's own numbers: ``w BN(x; γ, β) = BN(x; w γ, w β)``. In the
one-stage supernet a batch norm follows every operation, so the supernet with fixed weights *is* the network of the
genotype in the form ``ista-onestage``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils import parametrize

from prejudge.search.supernet.ista.compressed import CompressedParameters
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.network import NetworkDARTS
from prejudge.spaces.darts.supernet import SupernetDARTS

FORM = "ista-onestage"
"""Form of the final network: a batch norm after every operation."""

_SCALED = ("weight", "bias")


class ConstantFactor(nn.Module):
    """A constant factor of a parameter."""

    factor: Tensor

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor.detach().clone())

    def forward(self, parameter: Tensor) -> Tensor:
        return self.factor * parameter


@dataclass(frozen=True, eq=False)
class DerivedNetwork:
    """The network of a genotype, made of a supernet.

    Attributes:
        network: The network; the supernet's weights of the operations that run are constant factors of their batch
            norms' numbers until :func:`fold` multiplies them.
        origins: Which parameter of the supernet each of its parameters was copied from.
    """

    network: NetworkDARTS
    origins: Mapping[nn.Parameter, nn.Parameter]


def final_macro(supernet: SupernetDARTS) -> MacroConfigDARTS:
    """The macro-architecture of the networks that a one-stage supernet holds."""
    given = supernet.macro
    return MacroConfigDARTS(
        num_classes=given.num_classes,
        channels=given.channels,
        cells=given.cells,
        in_channels=given.in_channels,
        form=FORM,
        auxiliary=given.auxiliary,
    )


def derive(supernet: SupernetDARTS, arch_parameters: CompressedParameters) -> DerivedNetwork:
    """The network of the chosen operations, with copies of all that the supernet has learnt for it.

    Args:
        supernet: One-stage: affine batch norms everywhere, after poolings and identities too.
        arch_parameters: What it runs, two operations for each node.

    Returns:
        A network on the supernet's device, in training mode, whose outputs are those of the supernet.
    """
    network = NetworkDARTS(arch_parameters.genotype(), final_macro(supernet))
    first = next(supernet.parameters())
    network.to(first.device, first.dtype)
    origin = _origin_of(network.state_dict(), supernet, arch_parameters)
    known = supernet.state_dict()
    network.load_state_dict({name: known[there] for name, there in origin.items()})
    parameters = dict(supernet.named_parameters())
    origins = {p: parameters[origin[name]] for name, p in network.named_parameters()}
    weights = arch_parameters.selected_weights()
    for name, norm in _last_norms(network, supernet.kinds):
        node, k = name
        for what in _SCALED:
            parametrize.register_parametrization(norm, what, ConstantFactor(weights[node][k]))
    return DerivedNetwork(network, origins)


def fold(network: nn.Module) -> None:
    """Multiply the constant factors into the batch norms' numbers; the outputs stay, up to rounding."""
    for module in network.modules():
        for what in _SCALED:
            if isinstance(module, nn.BatchNorm2d) and parametrize.is_parametrized(module, what):
                parametrize.remove_parametrizations(module, what)


def _chosen(arch_parameters: CompressedParameters, kind: str) -> list[tuple[str, int, int, int]]:
    """Of each operation of a derived cell, in its order: the node, which of its operations, the edge, the candidate."""
    nodes = [node for node in arch_parameters.nodes if node.startswith(kind)]
    return [(node, k, *place) for node in nodes for k, place in enumerate(arch_parameters.selected(node))]


def _origin_of(
    names: Mapping[str, Tensor], supernet: SupernetDARTS, arch_parameters: CompressedParameters
) -> dict[str, str]:
    """The supernet's name of each parameter and buffer of the derived network."""
    found = {}
    for name in names:
        parts = name.split(".")
        if parts[0] == "cells" and parts[2] == "_ops":
            _, _, edge, position = _chosen(arch_parameters, supernet.kinds[int(parts[1])])[int(parts[3])]
            parts[3:4] = [str(edge), "_ops", str(position)]
        found[name] = ".".join(parts)
    return found


def _last_norms(network: NetworkDARTS, kinds: list[str]) -> Iterator[tuple[tuple[str, int], nn.BatchNorm2d]]:
    """The batch norm that each operation ends in, with its node and which of the node's operations it is."""
    for cell, kind in enumerate(kinds):
        operations = network.get_submodule(f"cells.{cell}._ops")
        for number, operation in enumerate(operations.children()):
            norms = [module for module in operation.modules() if isinstance(module, nn.BatchNorm2d)]
            yield (f"{kind}_{number // 2}", number % 2), norms[-1]
