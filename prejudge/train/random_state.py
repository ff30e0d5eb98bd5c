"""Random numbers of one's own, with the caller's generator left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator and give the caller's state back; the accelerators' generators are not touched."""
    import torch

    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
