"""The restricted unpickler: it looks up, makes and calls nothing that a pickle names, but writes down what it would be.

:mod:`prejudge.formats.pickle.values` makes plain values of that, :mod:`prejudge.formats.torch_file` tensors.
"""

from __future__ import annotations

import io
import mmap
import pickletools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import Struct
from struct import error as StructError
from typing import Any, ClassVar, NoReturn

from prejudge.errors import FileFormatError

MOST_OPCODES = 20_000_000
"""More than any network needs; a pickle with more is not read on."""

DAMAGE = (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, StructError)
"""The exceptions that the opcodes of a damaged pickle raise."""

_KEY_BITS = 64  # few keys that are told apart by so many bits have the same hash of 61 bits
MOST_PARTS = 8
"""Parts that a tuple may have which is a key."""
_UINT2, _UINT4, _UINT8 = (Struct(f"<{c}").unpack_from for c in "HIQ")
_INT4, _FLOAT8 = Struct("<i").unpack_from, Struct(">d").unpack_from


class Refused(FileFormatError):
    """A pickle is damaged or holds what is not read; the message goes on from the file's name."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names.

    Attributes:
        module: Where it was defined, such as ``torch._utils``.
        name: Its name there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return one_line(f"{self.module}.{self.name}")


@dataclass(eq=False, slots=True)
class Made:
    """A call, or an instance of a class, that the pickle asks for.

    Attributes:
        by: The callee: a :class:`Name`, or anything else in a damaged or hostile file.
        args: Its arguments.
        state: The attributes to set, in a dict, or whatever else the pickle gives.
        items: The items to put into it, as into a list or a set.
        pairs: The keys and values to put into it, as into a dict.
    """

    by: Any
    args: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: dict[Any, Any] = field(default_factory=dict)


def one_line(text: str) -> str:
    """A text of the file's, fit for a message: without line ends and control characters, and not too long."""
    text = "".join(character if character.isprintable() else " " for character in text[:100])
    return text if len(text) < 80 else f"{text[:79]}…"


class Unpickler:
    """Reads one pickle after the other as plain values, :class:`Name` and :class:`Made`.

    Containers are shared as they were, and can contain themselves.

    Args:
        data: All bytes.
        outside: Called with each reference to something outside the pickle; its result takes the reference's place.
    """

    handlers: ClassVar[list[Callable[[Any], None]]]
    """The effect of each opcode, by its code. A handler reads its argument, and leaves its result on the stack."""

    def __init__(self, data: bytes | mmap.mmap, outside: Callable[[Any], Any] | None = None) -> None:
        self._data: Any = data
        self._position = 0
        self._outside = outside or _nothing_outside
        self._restart()

    def _restart(self) -> None:
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below the last MARKs
        self._memo: Any = {}
        self._stopped = False

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._position

    def load(self) -> Any:
        """The value of the next pickle.

        Raises:
            Refused: It is not a pickle, is damaged or truncated, or would take unreasonable time or memory.
        """
        self._restart()
        handlers = self.handlers
        try:
            for _ in range(MOST_OPCODES):
                code = self._data[self._position]
                self._position += 1
                handlers[code](self)
                if self._stopped:
                    (value,) = self._stack
                    return value
        except DAMAGE as error:
            raise Refused(f"is not a pickle, or it is truncated or damaged ({type(error).__name__})") from error
        raise Refused(f"is a pickle of more than {MOST_OPCODES:,} operations")

    # Arguments of opcodes

    def _take(self, size: int) -> bytes:
        data: bytes = self._data[self._position : self._position + size]
        if len(data) < size:
            raise IndexError
        self._position += size
        return data

    def _number(self, unpack: Callable[..., tuple[Any, ...]], size: int) -> Any:
        number = unpack(self._data, self._position)[0]
        self._position += size
        return number

    def _byte(self) -> int:
        byte: int = self._data[self._position]
        self._position += 1
        return byte

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._position) + 1
        if not end:
            raise IndexError
        line: bytes = self._data[self._position : end]
        self._position = end
        return line

    def _read_line(self, read: Callable[[Any], Any]) -> Any:
        """An argument of protocol 0."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about texts with unknown escapes
            return read(io.BytesIO(self._line()))

    # Values

    def _text(self, size: int) -> None:
        self._stack.append(self._take(size).decode("utf-8", "surrogatepass"))

    def _integer(self, size: int) -> None:
        if size < 0:
            raise ValueError("no size")
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _pop_frame(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._below.pop()

    def _tuple(self, size: int) -> None:
        stack = self._stack
        if len(stack) < size:
            raise IndexError
        stack[-size:] = [tuple(stack[-size:])]

    def _marked(self, make: Callable[[list[Any]], Any]) -> None:
        items = self._pop_frame()
        self._stack.append(make(items))

    def _dict(self) -> None:
        items = self._pop_frame()
        self._stack.append({})
        self._set(items)

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    # Containers are filled

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        (target.items if isinstance(target, Made) else target).extend(items)  # a list, or the error of a damaged file

    def _append(self) -> None:
        self._extend([self._stack.pop()])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        pairs = target.pairs if isinstance(target, Made) else target
        if not isinstance(pairs, dict):
            raise TypeError("no dict")
        keys = items[::2]
        check_keys(keys)
        pairs.update(zip(keys, items[1::2], strict=True))

    # Calls

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise Refused("names something that is not text")
        self._stack.append(self._named(module, name))

    def _global(self) -> None:
        self._stack.append(self._named(self._line()[:-1].decode(), self._line()[:-1].decode()))

    def _named(self, module: str, name: str) -> Name:
        return Name(module, name)

    def _call(self) -> None:
        args, by = self._stack.pop(), self._stack.pop()
        self._stack.append(Made(by, args))

    def _call_with_keywords(self) -> None:
        self._stack.pop()  # no network needs them
        self._call()

    def _instance(self) -> None:
        by = self._named(self._line()[:-1].decode(), self._line()[:-1].decode())
        self._marked(lambda args: Made(by, tuple(args)))

    def _object(self) -> None:
        by, *args = self._pop_frame()
        self._stack.append(Made(by, tuple(args)))

    def _build(self) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Made):
            self._stack[-1].state = state

    def _stop(self) -> None:
        self._stopped = True


def check_keys(keys: Iterable[Any]) -> None:
    """Refuse keys of dicts that take for ever: nested tuples, and numbers of which many may have the same hash."""
    for key in keys:
        if type(key) is str:
            continue
        if type(key) is int:
            if key.bit_length() > _KEY_BITS:
                raise Refused("has a dict whose keys are huge numbers")
        elif isinstance(key, tuple):
            if len(key) > MOST_PARTS:  # each reference to the tuple costs its length
                raise Refused(f"has a dict whose keys are tuples of more than {MOST_PARTS} parts")
            if any(isinstance(part, tuple) for part in key):
                raise Refused("has a dict whose keys are nested tuples")
            bits = sum(p.bit_length() if type(p) is int else _KEY_BITS // 2 for p in key if isinstance(p, int | float))
            if bits > _KEY_BITS:
                raise Refused("has a dict whose keys are tuples of huge numbers")


def _nothing_outside(pid: Any) -> NoReturn:
    raise Refused("refers to objects outside the file")


def unknown_opcode(code: int, why: str) -> Callable[[Any], None]:
    """A handler that refuses an opcode."""
    names = {op.code: op.name for op in pickletools.opcodes}

    def refuse(machine: Any) -> None:
        raise Refused(f"uses the opcode {names.get(chr(code), f'0x{code:02x}')}, {why}")

    return refuse


def _pushing(make: Callable[[Unpickler], Any]) -> Callable[[Unpickler], None]:
    return lambda m: m._stack.append(make(m))


HANDLERS: dict[bytes, Callable[[Any], None]] = {
    b"\x80": lambda m: m._take(1),
    b"\x95": lambda m: m._take(8),
    b".": Unpickler._stop,
    b"(": Unpickler._mark,
    b"0": Unpickler._pop,
    b"1": lambda m: m._pop_frame().clear(),
    b"2": _pushing(lambda m: m._stack[-1]),
    b"N": lambda m: m._stack.append(None),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"}": lambda m: m._stack.append({}),
    b"]": lambda m: m._stack.append([]),
    b")": lambda m: m._stack.append(()),
    b"\x8f": _pushing(lambda m: Made(Name("builtins", "set"))),
    b"I": _pushing(lambda m: m._read_line(pickletools.read_decimalnl_short)),
    b"L": _pushing(lambda m: m._read_line(pickletools.read_decimalnl_long)),
    b"F": _pushing(lambda m: m._read_line(pickletools.read_floatnl)),
    b"S": _pushing(lambda m: m._read_line(pickletools.read_stringnl)),
    b"V": _pushing(lambda m: m._read_line(pickletools.read_unicodestringnl)),
    b"K": lambda m: m._stack.append(m._byte()),
    b"M": lambda m: m._stack.append(m._number(_UINT2, 2)),
    b"J": lambda m: m._stack.append(m._number(_INT4, 4)),
    b"G": lambda m: m._stack.append(m._number(_FLOAT8, 8)),
    b"\x8a": lambda m: m._integer(m._byte()),
    b"\x8b": lambda m: m._integer(m._number(_INT4, 4)),
    b"X": lambda m: m._text(m._number(_UINT4, 4)),
    b"\x8c": lambda m: m._text(m._byte()),
    b"\x8d": lambda m: m._text(m._number(_UINT8, 8)),
    b"T": _pushing(lambda m: m._take(m._number(_UINT4, 4)).decode("latin-1")),
    b"U": _pushing(lambda m: m._take(m._byte()).decode("latin-1")),
    b"B": lambda m: m._stack.append(m._take(m._number(_UINT4, 4))),
    b"C": lambda m: m._stack.append(m._take(m._byte())),
    b"\x8e": lambda m: m._stack.append(m._take(m._number(_UINT8, 8))),
    b"\x96": _pushing(lambda m: bytearray(m._take(m._number(_UINT8, 8)))),
    b"t": lambda m: m._marked(tuple),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"l": lambda m: m._marked(list),
    b"d": Unpickler._dict,
    b"\x91": lambda m: m._marked(lambda items: Made(Name("builtins", "frozenset"), (items,))),
    b"a": Unpickler._append,
    b"e": lambda m: m._extend(m._pop_frame()),
    b"\x90": lambda m: m._extend(m._pop_frame()),
    b"s": Unpickler._set_item,
    b"u": lambda m: m._set(m._pop_frame()),
    b"p": lambda m: m._put(m._read_line(pickletools.read_decimalnl_short)),
    b"q": lambda m: m._put(m._byte()),
    b"r": lambda m: m._put(m._number(_UINT4, 4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    b"g": lambda m: m._get(m._read_line(pickletools.read_decimalnl_short)),
    b"h": lambda m: m._get(m._byte()),
    b"j": lambda m: m._get(m._number(_UINT4, 4)),
    b"c": Unpickler._global,
    b"\x93": Unpickler._stack_global,
    b"R": Unpickler._call,
    b"\x81": Unpickler._call,
    b"\x92": Unpickler._call_with_keywords,
    b"b": Unpickler._build,
    b"i": Unpickler._instance,
    b"o": Unpickler._object,
    b"P": _pushing(lambda m: m._outside(m._line()[:-1].decode())),
    b"Q": _pushing(lambda m: m._outside(m._stack.pop())),
}
"""The effects of the known opcodes."""

Unpickler.handlers = [
    HANDLERS.get(bytes([code])) or unknown_opcode(code, "which no network needs") for code in range(256)
]
