"""Which device a name means, and whether it is here."""

from __future__ import annotations

import torch

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


def _available() -> list[str]:
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return found + (["mps"] if torch.backends.mps.is_available() else [])
