"""Exact arithmetic in fp32: torch's switches for TF32 and bf16 products, set for a while and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

_ABOVE = ("", "cudnn", "mkldnn")
_OPERATIONS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")


class PrecisionState(NamedTuple):
    """The positions of all switches.

    Torch has two generations of them. The newer ones (``fp32_precision``, torch 2.9) decide where they are there; the
    older ones (``allow_tf32``, ``set_float32_matmul_precision``) cannot be read where the two disagree, and are None
    then.
    """

    matmul: str | None
    cudnn: bool | None
    newer: tuple[str, ...]


def precision_state() -> PrecisionState:
    """Where all switches stand."""
    return PrecisionState(
        _readable(torch.get_float32_matmul_precision),
        _readable(lambda: bool(torch.backends.cudnn.allow_tf32)),
        tuple(switch.fp32_precision for switch in _switches(*_ABOVE, *_OPERATIONS)),
    )


def set_precision_state(state: PrecisionState) -> None:
    """Set all switches to where :func:`precision_state` found them."""
    if state.matmul is not None:
        torch.set_float32_matmul_precision(state.matmul)
    if state.cudnn is not None:
        torch.backends.cudnn.allow_tf32 = state.cudnn
    for switch, precision in zip(_switches(*_ABOVE, *_OPERATIONS), state.newer, strict=True):
        switch.fp32_precision = "none"  # what it inherited, it shall inherit again
        if switch.fp32_precision != precision:
            switch.fp32_precision = precision


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute convolutions and products of fp32 numbers in fp32; the caller's choice comes back afterwards.

    The older switches follow the newer ones, so that they can still be read; those that the caller has made disagree
    are left alone. Whether cuDNN is on, deterministic or searches for fast algorithms stays as it is.
    """
    before = precision_state()
    try:
        if before.matmul is not None:
            torch.set_float32_matmul_precision("highest")
        if before.cudnn is not None:
            torch.backends.cudnn.allow_tf32 = False
        for switch in _switches(*_OPERATIONS):
            switch.fp32_precision = "ieee"
        yield
    finally:
        set_precision_state(before)


def _switches(*names: str) -> list[Any]:
    found = []
    for name in names:
        holder: Any = torch.backends
        for part in name.split(".") if name else ():
            holder = getattr(holder, part, None)
        if hasattr(holder, "fp32_precision"):
            found.append(holder)
    return found


def _readable(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError:
        return None
