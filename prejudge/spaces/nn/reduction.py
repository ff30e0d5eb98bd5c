"""The residual block between the stages of NAS-Bench-201's and NATS-Bench's networks."""

from __future__ import annotations

from torch import Tensor, nn

from prejudge.spaces.nn.operations import ReLUConvBN


class Reduction(nn.Module):
    """Two convolutions beside a pooled shortcut: ``(N, c_in, H, W)`` to ``(N, c_out, H / 2, W / 2)``, rounded up.

    Args:
        c_in: Channels that come in.
        c_out: Channels that go out.
        shortcut_first: Whether the shortcut's module is registered first, as zero-cost-nas does.
    """

    def __init__(self, c_in: int, c_out: int, *, shortcut_first: bool = False):
        super().__init__()
        # ceil_mode: an odd side is halved as the strided convolution halves it (the official block fails there).
        shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False))
        if shortcut_first:
            self.downsample = shortcut
        self.conv_a = ReLUConvBN([nn.Conv2d(c_in, c_out, 3, 2, padding=1, bias=False)])
        self.conv_b = ReLUConvBN([nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)])
        if not shortcut_first:
            self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv_b(self.conv_a(x)) + self.downsample(x)
        return result
