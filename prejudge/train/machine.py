"""Where training computes, and in which number format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from prejudge.errors import InputError, unknown
from prejudge.proxies.device import find_device

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Number formats of the forward pass; weights and their updates stay in fp32."""

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Machine:
    """A device, and how it computes.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` …
        precision: One of :data:`PRECISIONS`: ``bf16`` and ``fp16`` run convolutions and products in that format
            (automatic mixed precision); ``fp16`` scales the loss so that small gradients survive.
        channels_last: Whether images and weights are laid out with their channels last, which convolutions like on most
            machines.

    Raises:
        InputError: There is no such device or precision, or the device cannot compute in it.
    """

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.precision == "fp16" and not self.device.startswith("cuda"):
            raise InputError(f"fp16 trains on CUDA devices only; on {self.device} use bf16 or fp32")
        find_device(self.device)

    def place(self, network: N) -> N:
        """Move a network there, in place."""
        network.to(self.device)
        return network.to(memory_format=torch.channels_last) if self.channels_last else network  # type: ignore[call-overload,no-any-return]

    def take(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, C, H, W)`` and classes ``(N,)`` on the device, without waiting for them."""
        inputs = inputs.to(self.device, non_blocking=True)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, targets.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Within it, forward passes compute in :attr:`precision`."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, PRECISIONS[self.precision])
