"""What a benchmark file's pickle may hold, made without a call: plain containers, texts, numbers, NumPy's scalars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prejudge.errors import FileFormatError

_ATOMS = frozenset({str, int, float, bool, type(None)})
_NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


class Refused(FileFormatError):
    """The pickle holds what may not be read; the message goes on from "at byte N it"."""


@dataclass(frozen=True, slots=True)
class Name:
    """Stands for a function or class that a pickle names; it cannot be called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class DType:
    """Stands for a NumPy dtype of plain numbers."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str) -> None:
        self._code = code
        self._order = "="

    def build(self, state: Any) -> None:
        """Take over the byte order from the state that NumPy pickles, ``(3, "<", None, None, None, -1, -1, 0)``."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise Refused("describes a NumPy type in no known way")
        self._order = state[1]

    def number(self, data: bytes) -> int | float | bool:
        """The number in these bytes."""
        dtype = np.dtype(self._order + self._code)
        if len(data) != dtype.itemsize:
            raise Refused(f"holds a NumPy number of {len(data)} bytes instead of {dtype.itemsize}")
        return np.frombuffer(data, dtype)[0].item()  # type: ignore[no-any-return]


def named(module: str, name: str) -> Name:
    """The stand-in of a name that is known to be harmless.

    Raises:
        Refused: Any other name.
    """
    made = Name(module, name)
    if made not in _MAKERS and made not in _FACTORIES:
        if module.split(".")[0] == "torch":
            raise Refused(f"names {made}: it holds weights or other torch objects, which the benchmark files do not")
        raise Refused(f"names {made}, which may run code")
    return made


def reduced(callee: Any, args: Any) -> Any:
    """What calling a known name with these arguments would give, as a plain value (an ``OrderedDict`` is a dict)."""
    if type(callee) is not Name or callee not in _MAKERS or type(args) is not tuple:
        raise Refused(f"calls {callee if type(callee) is Name else f'a {type(callee).__name__}'}, which may run code")
    return _MAKERS[callee](callee, args)


def check_keys(keys: Iterable[Any]) -> None:
    """Refuse keys that are neither texts nor numbers nor flat tuples of them: hashing nested ones may take for ever."""
    for key in keys:
        if type(key) not in _ATOMS and (type(key) is not tuple or not _ATOMS.issuperset(map(type, key))):
            raise Refused(f"uses a {type(key).__name__} that is not of plain values as a key")


def _ordered_dict(callee: Name, args: tuple[Any, ...]) -> dict[Any, Any]:
    match args:
        case ():
            return {}
        case (list(pairs),) if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            check_keys(key for key, _ in pairs)
            return dict(pairs)
    raise Refused(f"makes a {callee} in no known way")


def _default_dict(callee: Name, args: tuple[Any, ...]) -> dict[Any, Any]:
    if any(argument not in _FACTORIES for argument in args if type(argument) is Name) or len(args) > 1:
        raise Refused(f"makes a {callee} in no known way")
    return {}


def _set(callee: Name, args: tuple[Any, ...]) -> set[Any]:
    match args:
        case (list(members),):
            check_keys(members)
            return set(members)
    raise Refused(f"makes a {callee} in no known way")


def _dtype(callee: Name, args: tuple[Any, ...]) -> DType:
    if not args or args[0] not in _NUMBERS:
        raise Refused("holds NumPy values that are not numbers")
    return DType(args[0])


def _scalar(callee: Name, args: tuple[Any, ...]) -> int | float | bool:
    match args:
        case (DType() as dtype, bytes(data)):
            return dtype.number(data)
    raise Refused("holds a NumPy scalar that is no number")


def _no_bytes(callee: Name, args: tuple[Any, ...]) -> bytes:
    if args:
        raise Refused(f"makes {callee} in no known way")
    return b""  # how protocol 2 writes them


def _encoded(callee: Name, args: tuple[Any, ...]) -> bytes:
    match args:
        case (str(text), "latin1" | "latin-1"):
            return text.encode("latin1")  # how protocol 2 writes bytes
    raise Refused("encodes a text in no known way")


_BUILTINS = ("builtins", "__builtin__")
_FACTORIES = {Name(module, name) for module in _BUILTINS for name in ("list", "dict", "int", "float")}
_MAKERS = {
    Name("collections", "OrderedDict"): _ordered_dict,
    Name("collections", "defaultdict"): _default_dict,
    **{Name(module, name): _set for module in _BUILTINS for name in ("set", "frozenset")},
    Name("numpy", "dtype"): _dtype,
    **{Name(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{Name(module, "bytes"): _no_bytes for module in _BUILTINS},
    Name("_codecs", "encode"): _encoded,
}
