"""Scores do not depend on the state of torch that the caller is in, and leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch

from prejudge import score
from prejudge.engine.process_state import ProcessState
from prejudge.errors import InputError
from prejudge.proxies import default_names
from tests.proxies.cases import batch, case


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


STATES: dict[str, Any] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: default_dtype(torch.float64),
    "meta": lambda: default_device("meta"),
    "within meta": lambda: torch.device("meta"),
}


def scores(network: Any) -> dict[str, float]:
    x, y = batch(torch.float32)
    found = score(network, x.cpu(), y.cpu())
    return {name: s.value for name, s in found.items() if s.ok}


@pytest.mark.parametrize("state", STATES)
def test_the_same_bits_in_every_state(state: str) -> None:
    network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    expected = {name: s.value for name, s in score(network, x, y).items()}
    assert len(expected) == len(default_names())
    with STATES[state]():
        before = ProcessState(x.device)
        found = score(network, x, y)
        with pytest.raises(InputError):
            score(network, x[:, :2], y, ["snip"])
        assert before.put_back() is None
        assert torch.is_inference_mode_enabled() == (state == "inference_mode")
    assert {name: s.value for name, s in found.items()} == expected


def test_networks_and_batches_made_in_inference_mode_are_scored() -> None:
    expected = scores(case("nb201", torch.float32))
    with torch.inference_mode():
        network, (x, y) = case("nb201", torch.float32), batch(torch.float32)
    for context in (nullcontext, torch.inference_mode):
        manager: AbstractContextManager[Any] = context()
        with manager:
            found = score(network, x, y)
        assert {name: s.value for name, s in found.items()} == expected
