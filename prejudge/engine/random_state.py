"""Random numbers of one's own, with the caller's generators left as they were; and the generators' states to keep."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.errors import FileFormatError

if TYPE_CHECKING:
    import torch


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


@contextmanager
def own_generators(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed Python's, NumPy's, torch's CPU generator and that of one device; the caller's states come back afterwards.

    Args:
        seed: Of all of them.
        device: Where networks run.
    """
    import torch

    where = torch.device(device)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the generators that networks use
    with ExitStack() as stack:
        stack.callback(np.random.set_state, numpy)
        stack.callback(random.setstate, python)
        stack.enter_context(own_random_state(seed))
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        if where.type in ("cuda", "xpu"):
            module = torch.get_device_module(where)
            stack.callback(module.set_rng_state, module.get_rng_state(where), where)
            with module.device(where):
                module.manual_seed(seed)
        elif where.type == "mps":
            stack.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
            torch.mps.manual_seed(seed)
        yield


def random_states() -> dict[str, Any]:
    """Where all global generators stand: torch's (CPU, CUDA, MPS), NumPy's and Python's.

    Returns:
        Tensors and plain values that a checkpoint can hold. The accelerators' are in it where they are in use: to ask a
        CUDA device that the process has not touched would take a part of its memory.
    """
    import torch

    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002  # the generator that others use
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss_next],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = list(torch.cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set all global generators to where :func:`random_states` found them.

    Args:
        states: What it returned. Devices that this machine does not have, or that were not in use, are left out.

    Raises:
        FileFormatError: These are no such states; no generator was changed.
    """
    before = random_states()
    try:
        _set(states)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        _set(before)
        raise FileFormatError(f"the states of the random generators are damaged ({error})") from error


def _set(states: Mapping[str, Any]) -> None:
    import torch

    keys, position, has_gauss, gauss = states["numpy"]
    version, internal, gauss_next = states["python"]
    torch.set_rng_state(states["torch"].cpu())
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    random.setstate((version, tuple(internal.tolist()), gauss_next))
    if "cuda" in states and torch.cuda.is_available():
        for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state.cpu(), index)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"].cpu())
