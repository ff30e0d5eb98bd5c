"""A huge dict in a pickle, read one entry after the other from a stream.

Python's own machine keeps every object of a file in memory (26 GB for NAS-Bench-201). This one reads the file through a
small window, takes nothing but plain values, and forgets each entry of the dict under one given key as soon as it has
been handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import error as StructError
from typing import Any, NoReturn

from prejudge.errors import FileFormatError
from prejudge.formats.pickle.containers import FACTORIES, called_dict, called_set, check_plain_keys
from prejudge.formats.pickle.curves import KEY_OPCODES, Curves
from prejudge.formats.pickle.memo import Memo
from prejudge.formats.pickle.unpickler import (
    HANDLERS,
    Made,
    Name,
    Refused,
    Unpickler,
    unknown_opcode,
)
from prejudge.formats.pickle.values import BUILTINS, MULTIARRAY, PlainValues, number_type

MOST_BYTES = 8 << 20
"""No entry, nor all that surrounds the entries, may take more (the largest real architecture takes about 1 MB)."""

_WINDOW = 1 << 20
_MARGIN = 1 << 16
"""Bytes that lie ahead in the window at each opcode, unless the file ends: more than any opcode or curve takes."""

_DEEPEST, _WIDEST, _LONGEST_INTEGER = 64, 1 << 18, 8

_DICTS = {Name("collections", "OrderedDict"), Name("collections", "defaultdict")}
_SETS = {Name(module, name) for module in BUILTINS for name in ("set", "frozenset")}
_DTYPE = Name("numpy", "dtype")
_CALLED = {
    *_DICTS, *_SETS, _DTYPE, Name("_codecs", "encode"),
    *(Name(module, "bytes") for module in BUILTINS), *(Name(module, "scalar") for module in MULTIARRAY),
}  # fmt: skip


class EntryUnpickler(Unpickler):
    """Reads pickles of plain values, one after another, from streams of bytes.

    Attributes:
        value: The last pickle's value; entries that were handed out are missing in it.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self._numbered = Memo()
        self._curves = Curves(self._numbered)
        self._values = PlainValues(MOST_BYTES)
        super().__init__(b"")
        self.go_on(lambda size: b"", "no file")

    def go_on(self, read: Callable[[int], bytes], name: str) -> None:
        """Take the next pickles from this stream; the layouts of curves stay known.

        Args:
            read: Gives the next bytes, at most as many as asked for, and none at the end; may raise EOFError where a
                compressed file ends too early, and OSError.
            name: The name of the bytes, for messages.
        """
        self._read, self._name = read, name
        self._data, self._position, self._base = b"", 0, 0  # the window, the place in it, and where it starts
        self._limit = -1  # beyond this place the window is to be moved
        self._ended = False
        self._restart()

    def _restart(self) -> None:
        super()._restart()
        self._numbered.restart()
        self._memo = self._numbered
        self._base = getattr(self, "_base", 0)
        self._entries_key: str | None = None
        self._entries: dict[Any, Any] | None = None  # the dict whose entries are handed out
        self._frame: list[Any] | None = None  # its items that are being read
        self._last: list[Any] = []  # its last items, when SETITEMS was read
        self._free_from = self._base + self._position  # where the last entry ended

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._base + self._position

    def skip(self, prefix: bytes) -> bool:
        """Read over these bytes if they come next; says whether they did."""
        self._move_window(len(prefix))
        if self._data[self._position : self._position + len(prefix)] != prefix:
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
        handlers = self.handlers
        while not self._stopped:
            if self._position > self._limit:
                self._move_window(_MARGIN)
            at, base = self._position, self._base
            try:
                code = self._data[at]
                self._position = at + 1
                handlers[code](self)
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
        self._numbered.forget()
        self._values = PlainValues(MOST_BYTES)
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

    def _refuse(self, offset: int, problem: str) -> NoReturn:
        raise FileFormatError(f"{self._name}: the pickle at byte {offset} {problem}; nothing in it was run") from None

    def _take(self, size: int) -> bytes:
        if self._position + size > len(self._data):
            self._move_window(size)
        data: bytes = self._data[self._position : self._position + size]
        if len(data) < size:
            raise Refused("ends: the file is truncated")
        self._position += size
        return data

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._position, self._position + _MARGIN) + 1
        if not end:
            raise Refused("names something without end")
        line: bytes = self._data[self._position : end]
        self._position = end
        return line

    def _text(self, size: int) -> None:
        self._stack.append(self._take(size).decode("utf-8"))

    def _integer(self, size: int) -> None:
        if size > _LONGEST_INTEGER:
            raise Refused(f"holds an integer of {size} bytes")
        super()._integer(size)

    def _put(self, index: int) -> None:
        if index != len(self._memo):
            raise Refused(f"writes memo entry {index} where {len(self._memo)} is due")
        self._memo.append(self._stack[-1])

    # Containers

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
                self._numbered.hold()
            self._frame = self._stack
        else:
            self._read_curve()

    def _read_curve(self) -> None:
        """Read what comes next as a whole if it is a curve, the contents of the dict below the last MARK."""
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
        keys = items[::2]
        check_plain_keys(keys)
        into.update(zip(keys, items[1::2], strict=True))

    def _set_items(self) -> None:
        self._set(self._pop_frame())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refused("adds items to what is not a dict")
        if target is self._entries:
            self._frame, self._last = None, items
        else:
            self._fill(target, items)

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise Refused("appends to what is not a list")
        self._stack[-1].extend(items)

    def _add_items(self) -> None:
        items = self._pop_frame()
        if type(self._stack[-1]) is not set:
            raise Refused("adds members to what is not a set")
        check_plain_keys(items)
        self._stack[-1].update(items)

    # Calls of the few known names, which give plain values at once

    def _named(self, module: str, name: str) -> Name:
        made = Name(module, name)
        if made not in _CALLED and made not in FACTORIES:
            if module.split(".")[0] == "torch":
                raise Refused(
                    f"names {made}: it holds weights or other torch objects, which the benchmark files do not"
                )
            raise Refused(f"names {made}, which may run code")
        return made

    def _call(self) -> None:
        args, by = self._stack.pop(), self._stack.pop()
        if type(by) is not Name or by not in _CALLED or type(args) is not tuple:
            raise Refused(f"calls {by if type(by) is Name else f'a {type(by).__name__}'}, which may run code")
        if by in _DICTS:
            self._push_dict(called_dict(by, args))
        elif by in _SETS:
            self._stack.append(called_set(by, args))
        elif by == _DTYPE:
            self._stack.append(Made(by, args))
            number_type(self._stack[-1])
        else:
            self._stack.append(self._values.called(Made(by, args)))

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if type(target) is not Made:  # all other calls have given plain values
            named = target if type(target) is Name else f"a {type(target).__name__}"
            raise Refused(f"changes {named}, which may run code")
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise Refused("describes a NumPy type in no known way")
        target.state = state

    def _refer_outside(self) -> None:
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


_KNOWN = {code: HANDLERS[code] for code in (
    b"(", b"]", b")", b"N", b"\x88", b"\x89", b"K", b"M", b"J", b"G", b"\x8a", b"X", b"\x8c", b"\x8d", b"C", b"B",
    b"q", b"r", b"h", b"j", b"a", b"t", b"\x85", b"\x86", b"\x87",
)} | {
    b"\x80": EntryUnpickler._protocol,
    b"\x95": EntryUnpickler._frame_size,
    b".": EntryUnpickler._stop,
    b"(": EntryUnpickler._mark,
    b"}": lambda m: m._push_dict({}),
    b"\x8f": lambda m: m._stack.append(set()),
    b"\x94": lambda m: m._memo.append(m._stack[-1]),
    b"e": lambda m: m._extend(m._pop_frame()),
    b"a": EntryUnpickler._append,
    b"s": EntryUnpickler._set_item,
    b"u": EntryUnpickler._set_items,
    b"\x90": EntryUnpickler._add_items,
    b"\x91": lambda m: m._marked(lambda members: called_set(Name("builtins", "frozenset"), (members,))),
    b"c": EntryUnpickler._global,
    b"\x93": EntryUnpickler._stack_global,
    b"R": EntryUnpickler._call,
    b"b": EntryUnpickler._build,
    b"P": EntryUnpickler._refer_outside,
    b"Q": EntryUnpickler._refer_outside,
}  # fmt: skip
EntryUnpickler.handlers = [
    _KNOWN.get(bytes([code])) or unknown_opcode(code, "which benchmark files do not use") for code in range(256)
]
