"""Setting up a worker that scores or trains."""

from __future__ import annotations


def prepare(threads: int, device: str | None = None) -> None:
    """Give torch so many threads, and make sure that the device is there.

    Args:
        threads: Threads to compute with.
        device: Where the jobs will compute; None where it is known to be here.

    Raises:
        InputError: There is no such device on this machine.
    """
    import torch

    torch.set_num_threads(threads)
    if device is not None:
        from prejudge.engine.device import find_device

        find_device(device)
