"""Plain values of the pickles of other programs: containers, texts, numbers and NumPy arrays of numbers.

:mod:`prejudge.formats.pickle.unpickler` reads a pickle without running it; here the few calls that stand for numbers,
arrays, bytes and ordered dicts are done by hand, and everything else is refused.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any, NoReturn

import numpy as np

from prejudge.formats.pickle.unpickler import Made, Name, Refused, check_keys

_NUMBER = re.compile(r"[?biuf](1|2|4|8)?")
MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
BUILTINS = ("builtins", "__builtin__")
ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""The types of plain values that are not containers."""

_DEEPEST = 100
_SPARE = 1 << 16


def plain(
    value: Any,
    size: int,
    *,
    array: Callable[[np.ndarray], Any] = lambda found: found,
    other: Callable[[Made], Any] = lambda made: None,
) -> Any:
    """The values that a pickle describes.

    Args:
        value: The result of :meth:`~prejudge.formats.pickle.unpickler.Unpickler.load`.
        size: Bytes of the pickle: what is made of it stays in proportion.
        array: Makes the final value of an array.
        other: Makes the value of a call that is not known here, or None.

    Raises:
        Refused: It names or calls anything else, contains itself, or would become far larger than the pickle.
    """
    return PlainValues(size, array, other).make(value, 0)


class PlainValues:
    """Makes plain values that take memory in proportion to their pickle; see :func:`plain`."""

    def __init__(
        self,
        size: int,
        array: Callable[[np.ndarray], Any] = lambda found: found,
        other: Callable[[Made], Any] = lambda made: None,
    ) -> None:
        self._nodes = 4 * size + _SPARE
        self._bytes = 2 * size + _SPARE
        self._array, self._other = array, other
        self._seen: dict[int, tuple[Any, Any]] = {}  # texts and bytes by their id: what is made of them once

    def make(self, value: Any, depth: int) -> Any:
        """The plain value of a part that lies so deep in the whole."""
        self._nodes -= 1
        if self._nodes < 0 or depth > _DEEPEST:
            raise Refused("nests values too deep, or holds the same ones over and over")
        if type(value) in ATOMS:
            return self._text(value) if type(value) is str and not value.isascii() else value
        if type(value) is list:
            return [self.make(item, depth + 1) for item in value]
        if type(value) is tuple:
            return tuple(self.make(item, depth + 1) for item in value)
        if type(value) is dict:
            return dict(self._pairs(value, depth))
        if type(value) is Made:
            return self.called(value, depth)
        if type(value) is bytearray:
            return self._once(value, bytes)
        _refuse(value)

    def _text(self, text: str) -> str:
        try:
            self._once(text, str.encode)
        except UnicodeEncodeError:
            raise Refused("holds a text that is not Unicode") from None
        return text

    def _once(self, value: Any, make: Callable[[Any], Any]) -> Any:
        """The result for a value that the pickle may refer to thousands of times."""
        if id(value) not in self._seen:
            self._seen[id(value)] = value, make(value)
        return self._seen[id(value)][1]

    def _pairs(self, pairs: dict[Any, Any], depth: int) -> list[tuple[Any, Any]]:
        made = [(self.make(key, depth + 1), self.make(item, depth + 1)) for key, item in pairs.items()]
        for key, _ in made:
            parts = key if type(key) is tuple else (key,)
            if any(type(part) not in ATOMS for part in parts):
                raise Refused(f"has a {type(key).__name__} that is not of plain values as a key")
        check_keys([key for key, _ in made])
        return made

    def called(self, made: Made, depth: int = 0) -> Any:
        """The value of a call."""
        by, args = made.by, made.args
        if type(by) is not Name or type(args) is not tuple:
            _refuse(by)
        match (by.module, by.name, args):
            case (_, "scalar", (dtype, bytes() | Made() as data)) if by.module in MULTIARRAY:
                return self._numbers((), dtype, self._data(data), "C").item()
            case (_, "_reconstruct", _) if by.module in MULTIARRAY:
                match made.state:
                    case (_, tuple(shape), dtype, order, data):
                        found = self._numbers(shape, dtype, self._data(data), "F" if order else "C")
                        return self._array(found)
                return self._array(np.empty(0))
            case (_, "_frombuffer", (data, dtype, tuple(shape), order)) if by.module in _NUMERIC:
                return self._array(self._numbers(shape, dtype, self._data(data), "F" if order == "F" else "C"))
            case ("_codecs", "encode", _):
                return self._charged(self._data(made))
            case ("collections", "OrderedDict", ()):
                return OrderedDict(self._pairs(made.pairs, depth))
            case ("collections", "OrderedDict", (list(pairs),)) if all(
                type(p) in (list, tuple) and len(p) == 2 and type(p[0]) in ATOMS for p in pairs
            ):
                check_keys([pair[0] for pair in pairs])
                return OrderedDict(self._pairs({**dict(pairs), **made.pairs}, depth))  # as Python 2 wrote it
            case (_, "bytes", ()) if by.module in BUILTINS:
                return b""  # how protocols 0 to 2 write none
        found = self._other(made)
        if found is None:
            _refuse(by)
        return found

    def _data(self, data: Any) -> bytes:
        match data:
            case bytes() | bytearray():
                return bytes(data)
            case Made(by=Name("_codecs", "encode"), args=(str(text), "latin1" | "latin-1")):
                try:
                    return text.encode("latin1")  # how protocols 0 to 2 write bytes
                except UnicodeEncodeError:
                    raise Refused("encodes a text that is not bytes") from None
            case str():
                try:
                    return data.encode("latin1")  # as Python 2 wrote bytes
                except UnicodeEncodeError:
                    raise Refused("holds a NumPy array without its bytes") from None
            case Made(by=Name("builtins" | "__builtin__", "bytes"), args=()):
                return b""
            case Made(by=Name("_codecs", "encode")):
                raise Refused("encodes a text in no known way")
        raise Refused("holds a NumPy array of objects")

    def _charged(self, data: bytes) -> bytes:
        """Bytes that are made anew at each reference to them."""
        self._bytes -= len(data)
        if self._bytes < 0:
            raise Refused("holds the same bytes over and over")
        return data

    def _numbers(self, shape: tuple[Any, ...], described: Any, data: bytes, order: Any) -> np.ndarray:
        dtype = number_type(described)
        self._charged(data)
        if len(shape) > 16 or any(type(n) is not int or not 0 <= n < 2**40 for n in shape):
            raise Refused("holds a NumPy array of a shape that no array has")
        if prod(shape) * dtype.itemsize != len(data) or (0 in shape and max(shape) > _SPARE):
            raise Refused(f"holds a NumPy array of {len(data)} bytes that is not of the shape it says")
        return np.frombuffer(data, dtype).reshape(shape, order=order).copy()


def number_type(described: Any) -> np.dtype[Any]:
    """The type of plain numbers that a pickle describes.

    Raises:
        Refused: It describes another type.
    """
    match described:
        case Made(by=Name("numpy", "dtype"), args=(str(code), *_), state=state) if _NUMBER.fullmatch(code):
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
            if isinstance(state, tuple) and any(part is not None for part in state[2:5]):
                raise Refused("holds NumPy values of a type with parts, not numbers")
            with suppress(TypeError):
                return np.dtype(f"{order}{code}" if order in ("<", ">") else code)
    raise Refused("holds NumPy values that are not numbers")


def _refuse(value: Any) -> NoReturn:
    if isinstance(value, Made):
        value = value.by
    if isinstance(value, Name):
        if value.module.split(".")[0] == "torch":
            raise Refused(f"holds torch objects ({value}); save them as plain floats (tensor.item()) instead")
        raise Refused(f"names {value}, which may run code")
    raise Refused(f"calls or holds a {type(value).__name__}, which may run code")
