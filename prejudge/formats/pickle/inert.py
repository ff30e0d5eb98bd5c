"""Pickles of other programs as plain values: nothing that a pickle names is looked up, made or called.

A pickle is a program for a stack machine that may have any function called. This machine writes down what would have
been called (:class:`Made`) and goes on; :mod:`prejudge.formats.torch_file` makes tensors of what torch writes.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, cast

from prejudge.errors import FileFormatError

MOST_OPCODES = 20_000_000
"""More than any network needs; a file with more is not read on."""


class Refused(FileFormatError):
    """The pickle is damaged, or holds something that no network needs; the message follows the file's name."""


class Readable(Protocol):
    """A file, or memory that can be read like one."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names.

    Attributes:
        module: Where it was defined, such as ``torch._utils``.
        name: What it is called there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return one_line(f"{self.module}.{self.name}")


@dataclass(eq=False, slots=True)
class Made:
    """What a call or an instance of a class would have been.

    Attributes:
        by: What would have been called: a :class:`Name`, or anything else in a damaged or hostile file.
        args: What with.
        state: What its attributes would have been set to, in a dict, or whatever else the pickle gives.
        items: What would have been put into it, as a list or as a dict.
        pairs: The keys and values that would have been put into it.
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


def read_inert(file: Readable, outside: Callable[[Any], Any]) -> Any:
    """The value of the next pickle in a file.

    Args:
        file: Left behind the pickle's end.
        outside: Called with each reference to something outside the pickle; what it returns takes that one's place.

    Returns:
        Plain values, with :class:`Name` and :class:`Made` where the pickle has anything else. Containers are shared as
        they were, and can contain themselves.

    Raises:
        Refused: It is no pickle, is damaged or truncated, or would take unreasonable time or memory.
    """
    machine = _Machine(outside)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the standard library, about texts with unknown escapes
            for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
                handle = _HANDLERS.get(opcode.name)
                if handle is None:
                    raise Refused(f"uses the pickle opcode {opcode.name}, which no network needs")
                if count >= MOST_OPCODES:
                    raise Refused(f"is a pickle of more than {MOST_OPCODES:,} operations")
                handle(machine, argument)
        (value,) = machine.stack
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError) as error:
        raise Refused(f"is no pickle, or it is truncated or damaged ({type(error).__name__})") from error
    return value


class _Machine:
    def __init__(self, outside: Callable[[Any], Any]) -> None:
        self.outside = outside
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under the last MARKs
        self.memo: dict[int, Any] = {}

    def pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.below.pop()

    def duplicate(self, _: Any) -> None:
        self.push(self.stack[-1])

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def make_tuple(self, size: int) -> None:
        items = [self.stack.pop() for _ in range(size)]
        self.push(tuple(reversed(items)))

    def make_dict(self, _: Any) -> None:
        items = self.pop_to_mark()
        self.push({})
        self._set(items)

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def appends(self, _: Any) -> None:
        self._extend(self.pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Made) else target).extend(items)  # a list, or the error of a damaged file

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def set_items(self, _: Any) -> None:
        self._set(self.pop_to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        pairs = target.pairs if isinstance(target, Made) else target
        if not isinstance(pairs, dict):
            raise TypeError("no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # The hash of a tuple of tuples of tuples … can take for ever.
            if isinstance(key, tuple) and any(isinstance(part, tuple) for part in key):
                raise Refused("has a dict whose keys are nested tuples")
            pairs[key] = value

    def call(self, _: Any) -> None:
        args, by = self.stack.pop(), self.stack.pop()
        self.push(Made(by, args))

    def call_with_keywords(self, _: Any) -> None:
        self.stack.pop()  # no network needs them
        self.call(None)

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def instance(self, argument: str) -> None:
        args = tuple(self.pop_to_mark())
        self.push(Made(_name(argument), args))

    def object(self, _: Any) -> None:
        by, *args = self.pop_to_mark()
        self.push(Made(by, tuple(args)))

    def stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("no names")
        self.push(Name(module, name))

    def persistent(self, _: Any) -> None:
        self.push(self.outside(self.stack.pop()))


def _name(argument: str) -> Name:
    module, name = argument.split(" ", 1)
    return Name(module, name)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


_ARGUMENTS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
)
_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_ARGUMENTS.split(), _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_LIST": _constant(list),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_SET": _constant(lambda: Made(Name("builtins", "set"))),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.pop_to_mark().clear(),
    "DUP": _Machine.duplicate,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "LIST": lambda machine, _: machine.push(machine.pop_to_mark()),
    "FROZENSET": lambda machine, _: machine.push(Made(Name("builtins", "frozenset"), (machine.pop_to_mark(),))),
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": lambda machine, argument: machine.push(_name(argument)),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "BUILD": _Machine.build,
    "INST": _Machine.instance,
    "OBJ": _Machine.object,
    "PERSID": lambda machine, argument: machine.push(machine.outside(argument)),
    "BINPERSID": _Machine.persistent,
}
