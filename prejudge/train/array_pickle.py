"""Pickled arrays, read without running anything: plain containers, numbers, texts and NumPy arrays of numbers."""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError

# All of these are C functions and types: a pickle can call them, but cannot set attributes on them.
_RECONSTRUCT, _SCALAR = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]  # type: ignore[index]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # how protocols 0 to 2 write bytes
    **{(module, "_reconstruct"): _RECONSTRUCT for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): _SCALAR for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
}


def load_pickle(path: Path) -> Any:
    """The value in a pickle.

    Args:
        path: A file that Python 2 or 3 pickled.

    Returns:
        Dicts, lists, tuples, numbers, texts and arrays, as they were pickled.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no pickle, is truncated, or names anything but NumPy arrays of numbers.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="latin1").load()  # Python 2 wrote texts as bytes
    except FileFormatError as error:
        raise FileFormatError(f"{path} {error}; nothing in it was run") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise FileFormatError(f"{path} is no pickle, or it is truncated ({type(error).__name__}: {error})") from error


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise FileFormatError(f"names {module}.{name}, which may run code")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FileFormatError("refers to objects outside the file")
