"""Networks that the proxies are tested on: benchmark cells, and what else people bring."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.proxies import get, names
from prejudge.spaces import space

BUILT_IN = [name for name in names() if get(name).function.__module__.startswith("prejudge.")]
"""Other tests of the same process may have registered proxies of their own."""

CONV = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|skip_connect~2|"
DEAD_END = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


class Plain(nn.Module):
    """No batch norm; biases, groups, stride, dilation, functional and in-place ReLUs, a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1, stride=2)
        self.b = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False)
        self.c = nn.Conv2d(6, 4, 1, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a(x))
        x = self.relu(self.b(x) + 0.1)
        return self.head(self.relu(self.c(x)).mean((2, 3)))


class Shared(nn.Module):
    """One convolution used twice, linear layers over positions, tanh at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding="same")
        self.twice = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(4)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm(self.twice(self.stem(x))))
        x = self.relu2(self.twice(x))
        x = self.mix(x.flatten(2).transpose(1, 2)).mean(1)
        return self.head(torch.tanh(x))


class Functional(nn.Module):
    """The ReLU is a function call, out of sight of module hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.conv(x)), inplace=True).mean((2, 3)))


def nb201(text: str, form: str = "official") -> nn.Module:
    return space("nasbench201").network(text, num_classes=5, channels=4, cells=1, form=form)


CASES: dict[str, Callable[[], nn.Module]] = {
    "nb201": lambda: nb201(CONV),
    "nb201-zero-cost-nas": lambda: nb201(CONV, "zero-cost-nas"),
    "nb201-dead-end": lambda: nb201(DEAD_END),
    "plain": Plain,
    "shared": Shared,
}


def case(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network of :data:`CASES` with non-trivial batch-norm parameters, the same each time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        network = CASES[name]().to(dtype)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d) and module.affine:
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.1)
    return network


def batch(dtype: torch.dtype = torch.float64, images: int = 6, side: int = 12) -> tuple[Tensor, Tensor]:
    """Images and labels; every class but one has two images."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(images, 3, side, side, generator=generator, dtype=dtype)
    return x, torch.tensor([0, 1, 2, 0, 1, 4])[:images]
