"""Scores are never computed on TF32 or bf16 units, whatever position torch's switches are in; and they stay there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from prejudge.engine.precision import exact_fp32, precision_state, set_precision_state
from prejudge.engine.torch_state import standard_torch_state

BACKENDS: Any = torch.backends
NEWER = hasattr(torch.backends, "fp32_precision")
STATES: dict[str, Callable[[], Any]] = {
    "as torch starts": lambda: None,
    "legacy on": lambda: (
        setattr(BACKENDS.cudnn, "allow_tf32", True),
        setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
    ),
    "legacy off": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
}
NEWER_STATES: dict[str, Callable[[], Any]] = {
    "all tf32": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "all ieee": lambda: setattr(BACKENDS, "fp32_precision", "ieee"),
    "all none": lambda: (
        setattr(BACKENDS, "fp32_precision", "none"),
        setattr(BACKENDS.cudnn, "fp32_precision", "none"),
    ),
    "cudnn tf32": lambda: setattr(BACKENDS.cudnn, "fp32_precision", "tf32"),
    "conv ieee": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    "matmul tf32": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "cpu bf16": lambda: setattr(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    "mixed": lambda: (
        setattr(BACKENDS.cudnn, "allow_tf32", True),
        setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    ),
    "mixed, other way": lambda: (
        torch.set_float32_matmul_precision("high"),
        setattr(BACKENDS.cuda.matmul, "fp32_precision", "ieee"),
    ),
}


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = precision_state()
    yield
    set_precision_state(before)


def switches() -> list[str]:
    """The newer switches of every operation; of an older torch, what the legacy ones say."""
    if not NEWER:
        return ["tf32" if on else "ieee" for on in (BACKENDS.cudnn.allow_tf32, BACKENDS.cuda.matmul.allow_tf32)]
    found = (
        BACKENDS.cudnn.conv,
        BACKENDS.cudnn.rnn,
        BACKENDS.cuda.matmul,
        BACKENDS.mkldnn.conv,
        BACKENDS.mkldnn.matmul,
    )
    return [switch.fp32_precision for switch in found]


@pytest.mark.parametrize("state", [*STATES, *(NEWER_STATES if NEWER else ())])
def test_fp32_is_exact_and_every_switch_comes_back(state: str) -> None:
    (STATES | NEWER_STATES)[state]()
    before = precision_state()
    with exact_fp32():
        assert set(switches()) == {"ieee"}
        if before.cudnn is not None:
            assert not torch.backends.cudnn.allow_tf32  # and can be read
        if before.matmul is not None:
            assert torch.get_float32_matmul_precision() == "highest"
    assert precision_state() == before
    with pytest.raises(ZeroDivisionError), exact_fp32():
        raise ZeroDivisionError
    assert precision_state() == before


@pytest.mark.skipif(not NEWER, reason="this torch has no fp32_precision")
def test_what_was_inherited_is_inherited_again() -> None:
    BACKENDS.fp32_precision = "tf32"
    with exact_fp32():
        assert BACKENDS.cuda.matmul.fp32_precision == "ieee"
    BACKENDS.fp32_precision = "ieee"
    assert BACKENDS.cuda.matmul.fp32_precision == "ieee"


def test_the_switches_of_cudnn_stay_the_callers() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    try:
        cudnn.benchmark = cudnn.deterministic = True
        with standard_torch_state():
            assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic) == (True, True, True)
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before
