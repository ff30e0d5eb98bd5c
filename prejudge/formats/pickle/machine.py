"""A pickle machine for benchmark files: it calls nothing, and hands out one entry of a huge dict after the other.

A pickle is a program for a stack machine. Python's own machine calls whatever the program names and keeps every object
of a file in memory (26 GB for NAS-Bench-201). This one knows the opcodes that build plain values, reads the file
through a small window, and forgets each entry of the dict under one given key as soon as it has been handed out.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from struct import Struct
from struct import error as StructError
from typing import Any, NoReturn

from prejudge.benchmarks.importers.nasbench201.curves import KEY_OPCODES, Curves
from prejudge.errors import FileFormatError
from prejudge.formats.pickle.machine_values import DType, Name, Refused, check_keys, named, reduced
from prejudge.formats.pickle.memo import Memo

MOST_BYTES = 8 << 20
"""No entry, nor all that surrounds the entries, may take more (the largest real architecture takes about 1 MB)."""

_WINDOW = 1 << 20
_MARGIN = 1 << 16
"""What lies ahead in the window at each opcode, unless the file ends: more than the longest opcode or curve takes."""

_DEEPEST, _WIDEST = 64, 1 << 18
_UINT2, _UINT4, _UINT8 = (Struct(f"<{c}").unpack_from for c in "HIQ")
_INT4, _FLOAT8 = Struct("<i").unpack_from, Struct(">d").unpack_from


class PickleMachine:
    """Reads pickles of plain values, one after another, from streams of bytes.

    Attributes:
        value: The last pickle's value; entries that were handed out are missing in it.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self._memo = Memo()
        self._curves = Curves(self._memo)
        self.go_on(lambda size: b"", "no file")

    def go_on(self, read: Callable[[int], bytes], name: str) -> None:
        """Take the next pickles from this stream; the layouts of curves stay known.

        Args:
            read: Gives the next bytes, at most as many as asked for, and none at the end; may raise EOFError where a
                compressed file ends too early, and OSError.
            name: What the bytes are, for messages.
        """
        self._read, self._name = read, name
        self._data, self._position, self._base = b"", 0, 0  # the window, the place in it, and where it starts
        self._limit = -1  # beyond this place the window is to be moved
        self._ended = False
        self._restart()

    def _restart(self) -> None:
        self._memo.restart()
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below the last MARKs
        self._entries_key: str | None = None
        self._entries: dict[Any, Any] | None = None  # the dict whose entries are handed out
        self._frame: list[Any] | None = None  # its items that are being read
        self._last: list[Any] = []  # its last items, when SETITEMS was read
        self._free_from = self._base + self._position  # where the last entry ended
        self._stopped = False

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._base + self._position

    def skip(self, prefix: bytes) -> bool:
        """Read over these bytes if they come next; says whether they did."""
        self._move_window(len(prefix))
        if not self._data.startswith(prefix, self._position):
            return False
        self._position += len(prefix)
        return True

    def load(self) -> Any:
        """The value of the next pickle.

        Raises:
            FileFormatError: The file is truncated or damaged, or holds anything but plain values.
        """
        for _ in self.entries(None):
            raise AssertionError("no key was given, so nothing is handed out")
        return self.value

    def entries(self, key: str | None) -> Iterator[tuple[Any, Any]]:
        """Read the next pickle, a dict, and hand out the entries of the dict that it has under a key.

        Args:
            key: The key; its dict stays empty in :attr:`value`.

        Yields:
            ``(key, value)`` of each entry, in the order of the file, as soon as it is complete.

        Raises:
            FileFormatError: The file is truncated or damaged, holds anything but plain values, or refers to a part of
                an entry that was handed out before. The message names the byte.
        """
        self._restart()
        self._entries_key = key
        while not self._stopped:
            if self._position > self._limit:
                self._move_window(_MARGIN)
            at, base = self._position, self._base
            try:
                code = self._data[at]
                self._position = at + 1
                _HANDLERS[code](self)
            except Refused as error:
                self._refuse(base + at, str(error))
            except (IndexError, StructError):  # no more bytes, or nothing left on the stack
                ends = self._ended and base + at + 9 >= self._base + len(self._data)
                self._refuse(base + at, "ends: the file is truncated" if ends else "is damaged")
            except (ValueError, TypeError, OverflowError) as error:
                self._refuse(base + at, f"is damaged ({type(error).__name__})")
            if self._frame is self._stack and len(self._stack) == 3 and type(self._stack[1]) is dict and self._stack[1]:
                entry = self._stack[0], self._stack[1]  # the next key has come: this value is complete
                del self._stack[:2]
                self._forget()
                yield entry
            elif self._last:
                items, self._last = self._last, []
                self._forget()
                yield from zip(items[::2], items[1::2], strict=True)

    def _forget(self) -> None:
        self._memo.forget()
        self._free_from = self.offset

    def _move_window(self, need: int) -> None:
        """Drop what was read, and read on until so many bytes lie ahead or the file ends."""
        if self.offset - self._free_from > MOST_BYTES or need > MOST_BYTES:
            self._refuse(self.offset, f"goes on for more than {MOST_BYTES >> 20} MB within one architecture")
        if sum(map(len, self._below), len(self._stack)) > _WIDEST:
            self._refuse(self.offset, f"piles up more than {_WIDEST:,} values")
        parts = [self._data[self._position :]]
        ahead = len(parts[0])
        while ahead < need and not self._ended:
            try:
                part = self._read(_WINDOW)
            except EOFError:
                part = b""  # a compressed file that ends too early
            except (OSError, ValueError) as error:
                raise FileFormatError(
                    f"{self._name} cannot be read beyond byte {self.offset + ahead}: {error}"
                ) from None
            self._ended = not part
            parts.append(part)
            ahead += len(part)
        self._base += self._position
        self._position, self._data = 0, b"".join(parts)
        self._limit = ahead if self._ended else ahead - _MARGIN

    def _refuse(self, offset: int, what: str) -> NoReturn:
        raise FileFormatError(f"{self._name}: the pickle at byte {offset} {what}; nothing in it was run") from None

    # Opcodes. A handler reads its argument, and leaves its result on the stack.

    def _take(self, size: int) -> bytes:
        """The next bytes of the pickle."""
        if self._position + size > len(self._data):
            self._move_window(size)
        data = self._data[self._position : self._position + size]
        if len(data) < size:
            raise Refused("ends: the file is truncated")
        self._position += size
        return data

    def _number(self, unpack: Callable[..., tuple[Any, ...]], size: int) -> Any:
        number = unpack(self._data, self._position)[0]
        self._position += size
        return number

    def _byte(self) -> int:
        self._position += 1
        return self._data[self._position - 1]

    def _pop_frame(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _push_dict(self, made: dict[Any, Any]) -> None:
        if self._entries_key is not None and self._stack and self._stack[-1] == self._entries_key and self._at_top():
            self._entries, self._entries_key = made, None
        self._stack.append(made)

    def _at_top(self) -> bool:
        """Whether the last value is a key of the outermost dict."""
        match self._below:
            case []:  # the only item: no MARK
                return len(self._stack) == 2 and type(self._stack[0]) is dict
            case [[dict()]]:  # after an empty dict it might be the only key of that one
                return len(self._stack) % 2 == 1 and (len(self._stack) == 1 or self._stack[-2] != {})
        return False

    def _mark(self) -> None:
        if len(self._below) >= _DEEPEST:
            raise Refused(f"nests values more than {_DEEPEST} deep")
        outer = self._stack
        self._below.append(outer)
        self._stack = []
        if not outer or type(outer[-1]) is not dict:
            return
        if outer[-1] is self._entries:
            if self._frame is None:
                self._memo.hold()
            self._frame = self._stack
        else:
            self._read_curve()

    def _read_curve(self) -> None:
        """Read what comes next at a stroke if it is a curve, the contents of the dict below the last MARK."""
        if self._data[self._position] not in KEY_OPCODES:
            return
        into = self._below[-1][-1]
        length, items = self._curves.read(self._data, self._position, into)
        self._position += length
        if length and not items:
            self._pop_frame()
        else:
            self._stack.extend(items)

    def _frame_size(self) -> None:
        """Read over the note that a frame of so many bytes follows; it may cut a curve in two."""
        self._position += 8
        items = self._stack
        if not self._below or not items or type(items[-1]) is not float or len(items) % 2:
            return
        into = self._below[-1][-1:]
        if into and type(into[0]) is dict and into[0] is not self._entries:
            self._fill(into[0], items)
            items.clear()
            self._read_curve()

    def _fill(self, into: dict[Any, Any], items: list[Any]) -> None:
        check_keys(items[::2])
        into.update(zip(items[::2], items[1::2], strict=True))

    def _set_items(self) -> None:
        items = self._pop_frame()
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refused("adds items to what is no dict")
        if target is self._entries:
            self._frame, self._last = None, items
        else:
            self._fill(target, items)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._below.append(self._stack)
        self._stack = [key, value]
        self._set_items()

    def _append(self) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def _appends(self) -> None:
        items = self._pop_frame()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise Refused("appends to what is no list")
        return self._stack[-1]

    def _add_items(self) -> None:
        items = self._pop_frame()
        if type(self._stack[-1]) is not set:
            raise Refused("adds members to what is no set")
        check_keys(items)
        self._stack[-1].update(items)

    def _frozen_set(self) -> None:
        items = self._pop_frame()
        check_keys(items)
        self._stack.append(set(items))

    def _tuple(self, size: int) -> None:
        stack = self._stack
        if len(stack) < size:
            raise IndexError
        stack[-size:] = [tuple(stack[-size:])]

    def _marked_tuple(self) -> None:
        items = self._pop_frame()
        self._stack.append(tuple(items))

    def _text(self, data: bytes) -> None:
        self._stack.append(data.decode("utf-8"))

    def _integer(self, size: int) -> None:
        if size > 8:
            raise Refused(f"holds an integer of {size} bytes")
        self._stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def _put(self, index: int) -> None:
        if index != len(self._memo):
            raise Refused(f"writes memo entry {index} where {len(self._memo)} is due")
        self._memo.append(self._stack[-1])

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _line(self) -> str:
        end = self._data.find(b"\n", self._position, self._position + _MARGIN)
        if end < 0:
            raise Refused("names something without end")
        line, self._position = self._data[self._position : end], end + 1
        return line.decode("utf-8")

    def _global(self) -> None:
        module = self._line()
        self._stack.append(named(module, self._line()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise Refused("names something that is no text")
        self._stack.append(named(module, name))

    def _reduce(self) -> None:
        args, callee = self._stack.pop(), self._stack.pop()
        made = reduced(callee, args)
        if type(made) is dict:
            self._push_dict(made)
        else:
            self._stack.append(made)

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is not DType:
            raise Refused(
                f"changes {target if type(target) is Name else f'a {type(target).__name__}'}, which may run code"
            )
        target.build(state)

    def _external(self) -> None:
        raise Refused("refers to stored tensors or other objects outside the pickle, which the benchmark files do not")

    def _protocol(self) -> None:
        version = self._byte()
        if not 2 <= version <= 5:
            raise Refused(f"is of protocol {version}, not 2 to 5")

    def _stop(self) -> None:
        self.value = self._stack.pop()
        if self._stack or self._below:
            raise Refused("stops with values left over")
        self._stopped = True


def _unknown(code: int) -> Callable[[PickleMachine], None]:
    def refuse(machine: PickleMachine) -> None:
        names = {op.code: op.name for op in pickletools.opcodes}
        raise Refused(f"has opcode {names.get(chr(code), f'0x{code:02x}')}, which benchmark files do not use")

    return refuse


_KNOWN: dict[bytes, Callable[[PickleMachine], None]] = {
    b"\x80": PickleMachine._protocol,
    b"\x95": PickleMachine._frame_size,
    b".": PickleMachine._stop,
    b"(": PickleMachine._mark,
    b"}": lambda m: m._push_dict({}),
    b"]": lambda m: m._stack.append([]),
    b")": lambda m: m._stack.append(()),
    b"\x8f": lambda m: m._stack.append(set()),
    b"N": lambda m: m._stack.append(None),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"K": lambda m: m._stack.append(m._byte()),
    b"M": lambda m: m._stack.append(m._number(_UINT2, 2)),
    b"J": lambda m: m._stack.append(m._number(_INT4, 4)),
    b"G": lambda m: m._stack.append(m._number(_FLOAT8, 8)),
    b"\x8a": lambda m: m._integer(m._byte()),
    b"X": lambda m: m._text(m._take(m._number(_UINT4, 4))),
    b"\x8c": lambda m: m._text(m._take(m._byte())),
    b"\x8d": lambda m: m._text(m._take(m._number(_UINT8, 8))),
    b"C": lambda m: m._stack.append(m._take(m._byte())),
    b"B": lambda m: m._stack.append(m._take(m._number(_UINT4, 4))),
    b"q": lambda m: m._put(m._byte()),
    b"r": lambda m: m._put(m._number(_UINT4, 4)),
    b"\x94": lambda m: m._memo.append(m._stack[-1]),
    b"h": lambda m: m._get(m._byte()),
    b"j": lambda m: m._get(m._number(_UINT4, 4)),
    b"u": PickleMachine._set_items,
    b"s": PickleMachine._set_item,
    b"a": PickleMachine._append,
    b"e": PickleMachine._appends,
    b"\x90": PickleMachine._add_items,
    b"\x91": PickleMachine._frozen_set,
    b"t": PickleMachine._marked_tuple,
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"c": PickleMachine._global,
    b"\x93": PickleMachine._stack_global,
    b"R": PickleMachine._reduce,
    b"b": PickleMachine._build,
    b"P": PickleMachine._external,
    b"Q": PickleMachine._external,
}
_HANDLERS = [_KNOWN.get(bytes([code])) or _unknown(code) for code in range(256)]
