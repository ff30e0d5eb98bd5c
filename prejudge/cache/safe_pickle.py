"""Reading pickles of other programs without running anything in them.

A pickle is a program: it may name any function and have it called. Here it gets none but stand-ins that make numbers
and plain containers out of bytes; whatever else it names is refused before it is looked up.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from prejudge.errors import FileFormatError, MissingDataError

_NUMBER = re.compile(r"[?biuf](1|2|4|8)?")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError,
    OverflowError, RecursionError, MemoryError,
)  # fmt: skip


class Refused(FileFormatError):
    """The pickle names something that is neither a number nor a plain container."""


def read_pickles(path: Path) -> Iterator[tuple[int, Any]]:
    """Read a file of pickles, one after another.

    Args:
        path: The file.

    Yields:
        ``(offset in bytes, value)``: plain containers, texts, numbers; numpy scalars and arrays of numbers become plain
        numbers and nested lists.

    Raises:
        MissingDataError: There is no such file.
        FileFormatError: It is no pickle, is truncated (the message gives the byte where the last pickle starts), or
            names anything that could run.
    """
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    with path.open("rb") as file:
        while file.peek(1):
            offset = file.tell()
            try:
                value = _plain(_Unpickler(file).load())
            except Refused as error:
                raise FileFormatError(f"{path}: the pickle at byte {offset} {error}; nothing in it was run") from None
            except _BROKEN:
                what = "is truncated or damaged" if offset or file.tell() > 64 else "is no pickle, or is truncated"
                raise FileFormatError(f"{path} {what} in the pickle that starts at byte {offset}") from None
            yield offset, value


class _Maker:
    """A callable that a pickle may call but not change."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: object) -> None:
        raise Refused("tries to change a function")


class _DType:
    """Stands for a numpy dtype of plain numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or not _NUMBER.fullmatch(code):
            raise Refused(f"holds numpy values of type {code!r}, not numbers")
        self.code = code
        self.order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order if order in ("<", ">") else "="

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Stands for a numpy array of plain numbers until its bytes come."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: Any = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _DType) or not isinstance(data, bytes):
            raise Refused("holds a numpy array of objects")
        array = np.frombuffer(data, dtype.numpy)
        self.value = array.reshape(shape, order="F" if fortran else "C").tolist()


def _scalar(dtype: object, data: object = b"") -> Any:
    if not isinstance(dtype, _DType) or not isinstance(data, bytes):
        raise Refused("holds a numpy object")
    return np.frombuffer(data, dtype.numpy)[0].item()


def _from_buffer(data: object, dtype: object, shape: tuple[int, ...], order: str) -> Any:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(data) if isinstance(data, bytearray) else data))
    return array


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("encodes something that is no text")
    return text.encode("latin1")  # how protocols 0 to 2 write bytes


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): lambda: {},
    ("builtins", "bytes"): lambda: b"",  # no bytes at all, in protocols 0 to 2
    ("__builtin__", "bytes"): lambda: b"",
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
    **{(module, "_reconstruct"): lambda *_: _Array() for module in _MULTIARRAY},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")  # Python 2 wrote texts as bytes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            if module.split(".")[0] == "torch":
                raise Refused(
                    f"holds torch objects ({module}.{name}); save the scores as floats (tensor.item()) instead"
                )
            raise Refused(f"names {module}.{name}, which may run code")
        return _Maker(_KNOWN[module, name])

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("refers to objects outside the file")


def _plain(value: Any) -> Any:
    """The value without stand-ins."""
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(v) for v in value)
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _DType | _Maker):
        return repr(value)
    return value
