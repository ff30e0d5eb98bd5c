"""The size space's network, ``infer.shape.tiny`` of NATS-Bench: stem, three cells with reductions between, classifier.

Modules are registered in the official order, so ``parameters()`` lines up with the official networks.
"""

from __future__ import annotations

from torch import Tensor, nn

from prejudge.spaces.nats_size.widths import EDGES, SKIPPED, MacroConfigSize, StageWidths
from prejudge.spaces.nn.operations import ReLUConvBN, conv_bn
from prejudge.spaces.nn.reduction import Reduction


class WidthChange(nn.Module):
    """The skip connection between unequal widths: a 1x1 convolution and a batch norm, without the ReLU of others."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.conv(x))
        return result


class CellModuleSize(nn.Module):
    """The fixed cell, ``(N, c_in, H, W)`` to ``(N, c_out, H, W)``: edges from its input change the width."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.layers = nn.ModuleList()
        for target, source in EDGES:
            c = c_out if source else c_in
            if (target, source) != SKIPPED:
                self.layers.append(ReLUConvBN([nn.Conv2d(c, c_out, 3, padding=1, bias=False)]))
            else:
                self.layers.append(nn.Identity() if c == c_out else WidthChange(c, c_out))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, skip, fourth, fifth = self.layers
        node = first(x)
        last = second(x) + third(node)
        result: Tensor = skip(x) + fourth(node) + fifth(last)
        return result


class NetworkSize(nn.Module):
    """Images ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``."""

    def __init__(self, widths: StageWidths, macro: MacroConfigSize):
        super().__init__()
        c = widths.channels
        self.stem = conv_bn(macro.in_channels, c[0])
        self.cells = nn.ModuleList(
            [
                CellModuleSize(c[0], c[0]),
                Reduction(c[0], c[1]),
                CellModuleSize(c[1], c[2]),
                Reduction(c[2], c[3]),
                CellModuleSize(c[3], c[4]),
            ]
        )
        self.lastact = nn.Sequential(nn.BatchNorm2d(c[4]), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c[4], macro.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        result: Tensor = self.classifier(self.pool(self.lastact(x)).flatten(1))
        return result
