"""Tensors of safetensors files."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from prejudge.errors import FileFormatError, MissingDataError


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and the texts in its header.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is damaged, or no safetensors file.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: the file may be replaced while the network is used.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        what = " ".join(str(error).split())[:100]
        raise FileFormatError(f"{path} is not a safetensors file, or it is truncated or damaged ({what})") from error
