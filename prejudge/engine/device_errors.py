"""Errors of devices: which of them end a process's use of the device, and which only mean that memory is short."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prejudge.errors import DeviceError

_OF_A_DEVICE = re.compile(r"\b(CUDA|HIP|XPU|MPS|cuDNN) (driver )?error\b|\bGPU is lost|\bECC error", re.I)
_SHORT_OF_MEMORY = re.compile(r"(CUBLAS|CUDNN|CUSOLVER)_STATUS_ALLOC_FAILED|out of memory|DefaultCPUAllocator")
_HARMLESS = re.compile(
    r"invalid (argument|configuration|value|device)|no kernel image|not (supported|permitted)"
    r"|too many resources|peer access|STATUS_NOT_SUPPORTED|STATUS_BAD_PARAM",
    re.I,
)
"""CUDA errors after which the process goes on: a call was refused, no kernel was broken off."""


@contextmanager
def named_device_errors(device: torch.device) -> Iterator[None]:
    """Within it, what a device says in a :class:`RuntimeError` is raised by its own name.

    Raises:
        DeviceError: The device has failed.
        torch.OutOfMemoryError: Memory is short.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise_if_device_failed(error, device)
        if _SHORT_OF_MEMORY.search(str(error)):
            raise torch.OutOfMemoryError(str(error)) from error
        raise


def raise_if_device_failed(error: BaseException, device: torch.device | str) -> None:
    """Go on only if ``error``, or what it came from, leaves the device usable.

    After a failed assertion, an illegal address or a memory error every later call fails, too, with errors that would
    be taken for those of the networks.

    Args:
        error: What was raised.
        device: Where it was raised.

    Raises:
        DeviceError: The device has failed.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DeviceError):
            raise seen
        text = str(seen)
        goes_on = _HARMLESS.search(text) or _SHORT_OF_MEMORY.search(text)
        if isinstance(seen, RuntimeError) and _OF_A_DEVICE.search(text) and not goes_on:
            raise DeviceError(f"{device} has failed ({text.splitlines()[0]})") from error
        seen = seen.__cause__ or seen.__context__
