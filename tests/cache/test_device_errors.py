"""After an error that a device does not recover from nothing is stored, and the run can be gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from prejudge.cache import ScoreCache, fill, verify
from prejudge.data.dataset import ImageDataset
from prejudge.engine.device_errors import named_device_errors, raise_if_device_failed
from prejudge.errors import DeviceError
from prejudge.spaces import space

NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"macro": {"channels": 2, "cells": 1}, "batch_size": 8}
ARCHS = [NB201[i] for i in (3, 1, 4)]
STICKY = [
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: unspecified launch failure",
    "CUDA error: misaligned address",
    "HIP error: an illegal memory access was encountered",
]
HARMLESS = [
    "CUDA error: invalid configuration argument",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling cublasGemmEx",
    "mat1 and mat2 shapes cannot be multiplied",
]
SHORT = [
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "MPS backend out of memory (MPS allocated: 1 GB)",
]
FILE = '''
import torch
from pathlib import Path
from prejudge import proxy

@proxy("sick", reference="none")
def sick(probe):
    """Fails once there is a file."""
    if Path({marker!r}).exists():
        raise {error}({text!r})
    return 1.0
'''


@pytest.mark.parametrize("text", STICKY)
def test_what_ends_the_use_of_a_device(text: str) -> None:
    with pytest.raises(DeviceError, match=r"^cuda:1 has failed \((CUDA|HIP) error: [^\n]*\)$"):
        raise_if_device_failed(RuntimeError(text), "cuda:1")
    try:
        raise KeyError("what it became") from RuntimeError(text)
    except KeyError as error:
        with pytest.raises(DeviceError):
            raise_if_device_failed(error, "cuda")


@pytest.mark.parametrize("text", [*HARMLESS, *SHORT])
def test_what_a_device_recovers_from(text: str) -> None:
    raise_if_device_failed(RuntimeError(text), "cuda")
    expected = torch.OutOfMemoryError if text in SHORT else RuntimeError
    with pytest.raises(expected) as raised, named_device_errors(torch.device("cuda")):
        raise RuntimeError(text)
    assert type(raised.value) is expected


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_stored_and_the_next_run_goes_on(path: Path, data: ImageDataset, workers: int) -> None:
    marker, file = path.parent / "marker", path.parent / "sick.py"
    error = "torch.AcceleratorError" if hasattr(torch, "AcceleratorError") else "RuntimeError"
    file.write_text(FILE.format(marker=str(marker), error=error, text=STICKY[0]))
    proxies = ["params", f"{file}:sick"]
    with ScoreCache(path) as cache:
        protocol = fill(cache, NB201, ARCHS[:1], data, proxies, **SMALL)
        marker.touch()
        with pytest.raises(DeviceError) as raised:
            fill(cache, NB201, ARCHS, data, proxies, workers=workers, **SMALL)
        assert "cpu has failed (CUDA error: device-side assert triggered)" in str(raised.value)
        assert str(ARCHS[1]) in str(raised.value) or str(ARCHS[2]) in str(raised.value)
        assert "run again to go on" in str(raised.value)
        assert len(cache.frame(protocol)) == 1
        marker.unlink()
        fill(cache, NB201, ARCHS, data, proxies, **SMALL)
        frame = cache.frame(protocol)
        assert len(frame) == 3 and frame["sick"].tolist() == [1.0] * 3
    assert verify(path) == []
