"""The state of torch in which networks are built and scored, whatever the caller's is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from prejudge.engine.precision import exact_fp32


@contextmanager
def standard_torch_state(device: torch.device | str | None = None) -> Iterator[None]:
    """Gradients on, no inference mode, no autocast, fp32 as default and exact, new tensors on the CPU.

    The caller's state comes back afterwards, also after an error.

    Args:
        device: Where networks run; its autocast is switched off beside the CPU's.
    """
    default_device = torch.empty(0).device
    with ExitStack() as stack:
        stack.enter_context(exact_fp32())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", torch.device(device or "cpu").type}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        if default_device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
