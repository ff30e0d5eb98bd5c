"""Supernets in the plain way: every operation is a module of its own, run one at a time, its output weighed and added.

The oracle of the tests, and the baseline of perf/supernets.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prejudge.spaces.darts.candidates import EDGES as DARTS_EDGES
from prejudge.spaces.darts.supernet import SupernetDARTS
from prejudge.spaces.nasbench201.cell import CELL
from prejudge.spaces.nasbench201.cell import EDGES as NB201_EDGES
from prejudge.spaces.nasbench201.supernet import MixedCell201, Supernet201
from prejudge.spaces.nn.supernet import Mixture, Supernet, Terms


class Plain(nn.Module):
    """A supernet, run in the plain way.

    Args:
        supernet: The network; its modules are shared, not copied.
    """

    def __init__(self, supernet: Supernet):
        super().__init__()
        self.supernet = supernet

    def forward(self, x: Tensor, mixture: Mixture) -> Tensor:
        net = self.supernet
        if isinstance(net, SupernetDARTS):
            s0 = s1 = net.stem(x)
            for cell, kind in zip(net.cells, net.kinds, strict=True):
                s0, s1 = s1, darts_cell(cell, s0, s1, mixture[kind])
            return net.classifier(net.global_pooling(net.lastact(s1)).flatten(1))
        assert isinstance(net, Supernet201)
        x = net.stem(x)
        for block in net.cells:
            x = nasbench201_cell(block, x, mixture[CELL]) if isinstance(block, MixedCell201) else block(x)
        return net.classifier(net.pool(net.lastact(x)).flatten(1))


def edge(operations: Any, x: Tensor, terms: Terms) -> list[Tensor]:
    """The weighted outputs of an edge's operations."""
    return [weight * operations._ops[position](x) for position, weight in terms]


def darts_cell(cell: Any, s0: Tensor, s1: Tensor, terms: Sequence[Terms]) -> Tensor:
    """The output of a cell of a DARTS supernet."""
    states = [cell.preprocess0(s0), cell.preprocess1(s1)]
    side = [(n + 1) // 2 for n in s1.shape[2:]] if cell.reduction else s1.shape[2:]
    entering: list[Tensor] = []
    for (node, source), operations, on_edge in zip(DARTS_EDGES, cell._ops, terms, strict=True):
        entering += edge(operations, states[source], on_edge)
        if source == node + 1:
            nothing = states[1].new_zeros(*states[1].shape[:2], *side)
            states.append(sum(entering[1:], entering[0]) if entering else nothing)
            entering = []
    return torch.cat(states[2:], dim=1)


def nasbench201_cell(cell: Any, x: Tensor, terms: Sequence[Terms]) -> Tensor:
    """The output of a cell of the NAS-Bench-201 supernet."""
    nodes = [x]
    entering: list[Tensor] = []
    for (target, source), operations, on_edge in zip(NB201_EDGES, cell.edges, terms, strict=True):
        entering += edge(operations, nodes[source], on_edge)
        if source == target - 1:
            nodes.append(sum(entering[1:], entering[0]) if entering else torch.zeros_like(x))
            entering = []
    return nodes[3]
