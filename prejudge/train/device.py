"""The device of a training: its name, number format, memory layout, compiler and process group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from prejudge.engine.device import find_device
from prejudge.engine.memory_format import channels_last
from prejudge.errors import InputError, PrejudgeError, unknown
from prejudge.train.process_group import ProcessGroup

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Number formats of the forward pass; weights and their updates stay in fp32."""

N = TypeVar("N", bound=nn.Module)


class OutOfMemory(PrejudgeError):
    """The device, or the machine, has no memory left for a batch."""


@dataclass(frozen=True)
class DeviceConfig:
    """A device, and how it computes.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` …
        precision: One of :data:`PRECISIONS`: ``bf16`` and ``fp16`` run convolutions and products in that format
            (automatic mixed precision); ``fp16`` scales the loss so that small gradients survive.
        channels_last: Whether images and weights are laid out with their channels last, which convolutions like on most
            machines.
        compile: Whether ordinary networks are compiled (``torch.compile``), which takes some minutes at first and a new
            compilation for another number of images. Supernets cannot be.
        process_group: The processes that train together, of which this is one.

    Raises:
        InputError: There is no such device or precision, or the device cannot compute in it.
    """

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    process_group: ProcessGroup = field(default_factory=ProcessGroup)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.precision == "fp16" and not self.device.startswith("cuda"):
            raise InputError(f"fp16 trains on CUDA devices only; on {self.device} use bf16 or fp32")
        find_device(self.device)

    def place(self, network: N) -> N:
        """Move a network there, in place."""
        network.to(self.device)
        return channels_last(network) if self.channels_last else network

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

    def compiled(self, network: N) -> N:
        """Compile an ordinary network in place, if that is asked for; it happens when the network first runs.

        Raises:
            InputError: This Python or system has no compiler of torch.
        """
        if self.compile:
            try:
                network.compile()
            except RuntimeError as error:
                raise _cannot_compile(error) from error
        return network

    def varying(self, number: float) -> float | Tensor:
        """A number of a network that changes while it learns, as the network is to hold it.

        For compiled networks it is a tensor ``()`` on the device: torch would compile anew for every plain number.
        """
        return torch.tensor(number, device=self.device) if self.compile else number

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within it networks run: what a compiler or a full memory has to say is said in one line.

        Raises:
            InputError: A network cannot be compiled here.
            OutOfMemory: The device, or the machine, has no memory left.
        """
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory() from error
        except RuntimeError as error:
            if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error):
                raise self._out_of_memory() from error
            if self.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise _cannot_compile(error) from error
            raise

    def _out_of_memory(self) -> OutOfMemory:
        return OutOfMemory(
            f"{self.device} has no memory left: lower batch_size, or raise accumulation_steps, which divides a batch "
            "into parts"
        )


def _cannot_compile(error: Exception) -> InputError:
    first = str(error).strip().partition("\n")[0][:200]
    return InputError(f"the network cannot be compiled here; train without compile ({type(error).__name__}: {first})")
