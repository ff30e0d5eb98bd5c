from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from prejudge.engine.random_state import own_random_state, random_states, restore_random_states
from prejudge.errors import FileFormatError
from prejudge.train.checkpoint import CheckpointManager


def draws() -> list[float]:
    numpy = [np.random.rand(), np.random.randn()]  # noqa: NPY002  # the generator that is kept
    return [torch.rand(()).item(), torch.randn(()).item(), *numpy, random.random(), random.gauss(0, 1)]


def test_all_generators_go_on_where_they_stood(tmp_path: Path) -> None:
    draws()  # half of a pair of normal numbers waits in NumPy's and in Python's generator
    keeper = CheckpointManager(tmp_path, {})
    keeper.save(1, random_states())
    expected = [draws() for _ in range(3)]
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    assert draws() != expected[0]
    found = keeper.latest()
    assert found is not None
    restore_random_states(found.state)
    assert [draws() for _ in range(3)] == expected


def test_asking_draws_nothing() -> None:
    first = random_states()
    second = random_states()
    assert first["torch"].equal(second["torch"]) and first["numpy"][1:] == second["numpy"][1:]
    assert first["numpy"][0].equal(second["numpy"][0]) and first["python"][1].equal(second["python"][1])


def test_a_device_that_is_not_here_is_left_out() -> None:
    states = random_states()
    if not torch.cuda.is_available():
        assert "cuda" not in states
    restore_random_states({**states, "cuda": [torch.zeros(0, dtype=torch.uint8)] * (torch.cuda.device_count() == 0)})


@pytest.mark.parametrize("key", ["torch", "numpy", "python"])
def test_damaged_states_change_nothing(key: str) -> None:
    states = random_states()
    expected = draws()
    restore_random_states(states)
    for damaged in (None, [1, 2, 3], torch.zeros(3), [1, torch.zeros(3), 4, 5.0]):
        with pytest.raises(FileFormatError, match="random generators are damaged"):
            restore_random_states({**states, key: damaged})
    with pytest.raises(FileFormatError, match="random generators are damaged"):
        restore_random_states({k: v for k, v in states.items() if k != key})
    assert draws() == expected


def test_own_random_state_gives_the_callers_back() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with own_random_state(5):
        inside = torch.rand(2)
    assert torch.rand(2).equal(expected)
    with own_random_state(5):
        assert torch.rand(2).equal(inside)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generators_go_on_where_they_stood() -> None:
    torch.rand(3, device="cuda")
    states = random_states()
    expected = torch.rand(5, device="cuda")
    torch.cuda.manual_seed_all(9)
    restore_random_states(states)
    assert torch.rand(5, device="cuda").equal(expected)
