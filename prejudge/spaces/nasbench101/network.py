"""The NAS-Bench-101 network: stem, stacks of cells with max pooling between them, classifier.

Modules are registered in the order of zero-cost-nas's port, so ``parameters()`` lines up with its networks: in a cell
first the operations of the vertices, then the projections of the input.
"""

from __future__ import annotations

from math import erf, sqrt

import torch
from torch import Tensor, nn

from prejudge.spaces.nasbench101.cell import CONV1, CONV3, Cell101
from prejudge.spaces.nasbench101.macro import MacroConfig101, vertex_channels

_MOMENTUM = {"official": 0.003, "zero-cost-nas": 0.1}  # of the new statistics; TensorFlow's 0.997 is of the old ones


class ConvBNReLU(nn.Sequential):
    """Convolution, batch norm, ReLU: the space's parametrized operation, and the projection of the input."""

    def __init__(self, c_in: int, c_out: int, kernel: int, form: str):
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(c_out, momentum=_MOMENTUM[form]),
            nn.ReLU(),
        )


class CellModule101(nn.Module):
    """One cell.

    An interior vertex applies its operation to the sum of what flows into it: a 1x1 projection of the cell's input, and
    the first channels of earlier vertices. The output concatenates the vertices that feed it and adds the projected
    input where that feeds it too.
    """

    def __init__(self, cell: Cell101, c_in: int, c_out: int, form: str):
        super().__init__()
        matrix, self.last = cell.matrix, len(cell.matrix) - 1
        self.channels = channels = vertex_channels(matrix, c_in, c_out)
        self.sources = [[u for u in range(1, v) if matrix[u][v]] for v in range(self.last + 1)]

        def operation(vertex: int, op: int) -> nn.Module:
            if op in (CONV3, CONV1):
                return ConvBNReLU(channels[vertex], channels[vertex], 3 if op == CONV3 else 1, form)
            return nn.MaxPool2d(3, stride=1, padding=1)

        self.vertices = nn.ModuleDict({str(v): operation(v, op) for v, op in enumerate(cell.operations, start=1)})
        self.projections = nn.ModuleDict(
            {str(v): ConvBNReLU(c_in, channels[v], 1, form) for v in range(1, self.last + 1) if matrix[0][v]}
        )

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for vertex in range(1, self.last):
            # At most one channel is cut off: the one that the division of the output's channels left over.
            terms = [values[source][:, : self.channels[vertex]] for source in self.sources[vertex]]
            values.append(self.vertices[str(vertex)](self._sum(x, vertex, terms)))
        feeding = [values[source] for source in self.sources[self.last]]
        return self._sum(x, self.last, [torch.cat(feeding, 1)] if len(feeding) > 1 else feeding)

    def _sum(self, x: Tensor, vertex: int, terms: list[Tensor]) -> Tensor:
        if str(vertex) in self.projections:
            terms = [*terms, self.projections[str(vertex)](x)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term  # not in place: it may be the output of a ReLU, which the backward pass needs
        return total


class Network101(nn.Module):
    """Images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``."""

    def __init__(self, cell: Cell101, macro: MacroConfig101):
        super().__init__()
        c_in = c = macro.channels
        self.stem = ConvBNReLU(macro.in_channels, c, 3, macro.form)
        blocks: list[nn.Module] = []
        for stack in range(macro.stacks):
            if stack:
                # ceil_mode: an odd side is rounded up, as TensorFlow's padding "same" does.
                blocks.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
                c *= 2
            for _ in range(macro.cells):
                blocks.append(CellModule101(cell, c_in, c, macro.form))
                c_in = c
        self.cells = nn.ModuleList(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c, macro.num_classes)
        if not self.classifier.weight.is_meta:  # where there is no memory behind the weights, there is nothing to draw
            self._draw_weights(macro.form)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.cells:
            x = block(x)
        result: Tensor = self.classifier(self.pool(x).flatten(1))
        return result

    @torch.no_grad()
    def _draw_weights(self, form: str) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                area = module.kernel_size[0] * module.kernel_size[1]
                if form == "official":
                    # A normal cut at two deviations, by its inverse distribution function (torch's own routine is
                    # several times slower); 0.8796 is the deviation of the standard normal so cut.
                    deviation = sqrt(1 / (area * module.in_channels)) / 0.87962566103423978
                    bound = erf(sqrt(2))
                    module.weight.uniform_(-bound, bound).erfinv_().mul_(sqrt(2) * deviation)
                else:
                    nn.init.normal_(module.weight, std=sqrt(2 / (area * module.out_channels)))
        if form == "official":
            nn.init.xavier_uniform_(self.classifier.weight)
        else:
            nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)
