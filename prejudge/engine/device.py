"""Which device a name means, and whether it is here."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prejudge.errors import InputError


def find_device(name: str | torch.device) -> torch.device:
    """The device called ``name``.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or whatever else this torch knows.

    Raises:
        InputError: There is no such device here; the message says which there are.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"no device {str(name)!r} here (there is {', '.join(_available())}): {first}") from None
    return device


def where_to_run(
    network: nn.Module, inputs: Tensor, name: str | torch.device | None
) -> tuple[torch.device, torch.dtype]:
    """Where a network is to run, and in which type its images are to come.

    Args:
        network: Its first floating tensor decides; that of ``inputs`` where it has none.
        inputs: Its batch.
        name: The device, where it is not to be the network's own.
    """
    tensor = next((t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()), inputs)
    return tensor.device if name is None else find_device(name), tensor.dtype


def _available() -> list[str]:
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return found + (["mps"] if torch.backends.mps.is_available() else [])
