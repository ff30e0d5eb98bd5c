"""The NAS-Bench-201 network: stem, stages of cells with residual reductions between them, classifier.

Modules are registered in the official order, so ``parameters()`` lines up with the official networks.
"""

from __future__ import annotations

from torch import Tensor, nn

from prejudge.spaces.nasbench201.cell import CONV1, CONV3, EDGES, NONE, POOL, SKIP, Cell201, MacroConfig201
from prejudge.spaces.nn.operations import ReLUConvBN, Zero, average_pool, conv_bn
from prejudge.spaces.nn.reduction import Reduction


def operation(op: int, c: int, *, bias: bool = False, affine: bool = True, track: bool = True) -> nn.Module:
    """One operation, ``(N, C, H, W)`` to the same shape.

    Args:
        op: Index into :data:`~prejudge.spaces.nasbench201.cell.OPERATIONS`.
        c: C.
        bias: Whether a convolution has a bias.
        affine: Whether the batch norm of a convolution has parameters.
        track: Whether it keeps running statistics.
    """
    if op in (CONV1, CONV3):
        kernel = 1 if op == CONV1 else 3
        return ReLUConvBN([nn.Conv2d(c, c, kernel, padding=kernel // 2, bias=bias)], affine=affine, track=track)
    if op == POOL:
        return average_pool()
    return nn.Identity() if op == SKIP else Zero()


class CellModule201(nn.Module):
    """One cell: each node is the sum of the chosen operations on the nodes before it."""

    def __init__(self, cell: Cell201, channels: int, form: str):
        super().__init__()
        official = form == "official"
        self.edges = cell.edges
        self.layers = nn.ModuleList(
            operation(op, channels, bias=not official, affine=official, track=official) for op in cell.edges
        )

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        total: Tensor | None = None
        for (target, source), op, layer in zip(EDGES, self.edges, self.layers, strict=True):
            if op != NONE:
                term = nodes[source] if op == SKIP else layer(nodes[source])
                total = term if total is None else total + term
            if source == target - 1:
                # A node without any edge is zero; the tensor exists all the same, as in the official network.
                nodes.append(x.new_zeros(x.shape) if total is None else total)
                total = None
        return nodes[3]


class Network201(nn.Module):
    """Images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``."""

    def __init__(self, cell: Cell201, macro: MacroConfig201):
        super().__init__()
        c = macro.channels
        self.stem = conv_bn(macro.in_channels, c) if macro.stem else nn.Identity()
        blocks: list[nn.Module] = []
        for stage in range(macro.stages):
            if stage:
                blocks.append(Reduction(c, 2 * c, shortcut_first=macro.form != "official"))
                c *= 2
            blocks += [CellModule201(cell, c, macro.form) for _ in range(macro.cells)]
        self.cells = nn.ModuleList(blocks)
        self.lastact = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c, macro.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        result: Tensor = self.classifier(self.pool(self.lastact(x)).flatten(1))
        return result
