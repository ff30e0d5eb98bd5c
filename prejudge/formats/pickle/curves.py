"""Reading the curves of a pickled benchmark, ``{epoch: value}`` and ``{"x-valid@epoch": value}``, as a whole.

Nearly all bytes of a benchmark file are such dicts, and nearly all of these have the same few layouts: the same
opcodes and keys in the same places, and only the values and memo numbers differ. A layout that occurred twice is
compared as a whole the next time, and its values are unpacked by one call.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Any

import numpy as np

from prejudge.formats.pickle.memo import Memo

_INT1, _INT2, _TEXT, _SHORT_TEXT, _GET, _LONG_GET = b"KMX\x8chj"
_PUT, _LONG_PUT, _MEMOIZE, _FLOAT, _SETITEMS = b"qr\x94Gu"
KEY_OPCODES = frozenset((_INT1, _INT2, _TEXT, _SHORT_TEXT, _GET, _LONG_GET))
"""The opcodes a curve may begin with."""

_FLOAT_AT = Struct(">d").unpack_from
_UINT_AT = Struct("<I").unpack_from
_LONGEST, _MOST_ALIKE = 1 << 16, 64  # a short curve is compared with so many layouts, each no longer than that
_FEWEST, _MOST_LAYOUTS, _MOST_SEEN, _MOST_KEYS = 8, 256, 4096, 1024


class CurveRun:
    """Pairs of a key and a number that follow each other, read one by one.

    Attributes:
        keys: The keys.
        values: The numbers.
        length: Bytes read.
        closed: Whether the opcode SETITEMS follows (it is part of ``length``).
    """

    def __init__(self, data: bytes, start: int, memo: Memo) -> None:
        self.keys: list[Any] = []
        self.values: list[float] = []
        self.closed = False
        self._floats: list[int] = []  # where the values lie
        self._puts: list[int] = []  # where the memo numbers of new texts lie
        self._gets: list[int] = []  # where the memo numbers of old texts lie
        self._texts = 0  # keys that are new texts
        self._consecutive = True
        self._start = start
        self.length = 0
        self._read(data, memo)

    def _read(self, data: bytes, memo: Memo) -> None:
        position, size, expected = self._start, len(data), -1
        while position + 300 < size:  # the longest pair: a short text of 255 bytes
            at, code = position, data[position]
            text = False
            key: Any
            if code == _INT1:
                key, position = data[at + 1], at + 2
            elif code == _INT2:
                key, position = data[at + 1] | data[at + 2] << 8, at + 3
            elif code in (_GET, _LONG_GET):
                index, position = (_UINT_AT(data, at + 1)[0], at + 5) if code == _LONG_GET else (data[at + 1], at + 2)
                if memo.text_numbers(index, 1) is None:
                    break
                key = memo[index]
                if expected >= 0 and (index != expected or code == _GET):
                    self._consecutive = False
                expected = index + 1
                self._gets.append(at + 1)
            elif code == _TEXT and data[at + 2 : at + 5] == b"\0\0\0":
                position = at + 5 + data[at + 1]
                key, text = data[at + 5 : position], True
            elif code == _SHORT_TEXT:
                position = at + 2 + data[at + 1]
                key, text = data[at + 2 : position], True
            else:
                self.closed = code == _SETITEMS and bool(self.keys)
                break
            if text:
                if not key.isascii():
                    break
                key = key.decode("ascii")
                put, index = data[position], len(memo)
                if put == _LONG_PUT and _UINT_AT(data, position + 1)[0] == index:
                    after = position + 5
                elif put == _PUT and data[position + 1] == index:
                    after = position + 2
                elif put == _MEMOIZE:
                    after = position + 1
                else:
                    break
                if data[after] != _FLOAT:
                    break
                if put == _LONG_PUT:
                    self._puts.append(position + 1)
                memo.append(key)
                self._texts += 1
                position = after
            elif data[position] != _FLOAT:
                break
            self.keys.append(key)
            self.values.append(_FLOAT_AT(data, position + 1)[0])
            self._floats.append(position + 1)
            position += 9
            self.length = position - self._start
        if self.closed:
            self.length += 1

    def layout(self, data: bytes, memo: Memo) -> CurveLayout | None:
        """The layout of the whole, if the next one like it can be compared with it."""
        if len(self._puts) not in (0, self._texts) or (self._gets and (self._texts or not self._consecutive)):
            return None
        if len(self._gets) not in (0, len(self.keys)):
            return None
        return CurveLayout(data[self._start : self._start + self.length], self.keys, memo, [
            np.array(places, np.intp) - self._start for places in (self._floats, self._puts, self._gets)
        ], self._texts)  # fmt: skip


class CurveLayout:
    """Where keys, memo numbers and values lie in one kind of curve.

    Args:
        example: The bytes of one such curve, the final SETITEMS included.
        keys: Its keys.
        memo: The memo.
        places: Offsets of the values, of the memo numbers of new texts, and of those of old texts.
        new_texts: How many keys are new texts.
    """

    def __init__(self, example: bytes, keys: list[Any], memo: Memo, places: list[Any], new_texts: int) -> None:
        floats, self._puts, self._gets = (p[:, None] + np.arange(w) for p, w in zip(places, (8, 4, 4), strict=True))
        mask = np.full(len(example), 255, np.uint8)
        for varying in (floats, self._puts, self._gets):
            mask[varying] = 0
        self.length = len(example)
        self._mask = mask
        self._constant = np.frombuffer(example, np.uint8) & mask
        gaps = np.diff(np.concatenate([[-8], places[0]])) - 8  # from the end of one value to the start of the next
        self._values = Struct(">" + "".join(f"{gap}xd" for gap in gaps)).unpack_from
        self._steps = np.arange(len(keys), dtype=np.uint32)
        self._keys = tuple(keys)
        self._numbers = memo.numbers(keys) if new_texts else None
        self._known_keys: dict[bytes, tuple[str, ...]] = {}

    def read(self, data: bytes, start: int, memo: Memo) -> tuple[tuple[Any, ...], tuple[float, ...]] | None:
        """The keys and values, if the bytes from ``start`` have this layout; None otherwise."""
        end = start + self.length
        if end > len(data) or data[end - 1] != _SETITEMS:
            return None
        found = np.frombuffer(data, np.uint8, self.length, start)
        if not np.array_equal(found & self._mask, self._constant):
            return None
        keys = self._keys
        if len(self._puts) and not self._consecutive(found[self._puts], len(memo)):
            return None
        if len(self._gets):
            first = _UINT_AT(data, start + 1)[0]
            if not self._consecutive(found[self._gets], first):
                return None
            numbers = memo.text_numbers(first, len(keys))
            if numbers is None:
                return None
            keys = self._texts(numbers, memo)
        if self._numbers is not None:
            memo.append_texts(self._numbers)
        return keys, self._values(data, start)

    def _consecutive(self, numbers: Any, first: int) -> bool:
        return bool((numbers.view("<u4")[:, 0] == self._steps + np.uint32(first)).all())

    def _texts(self, numbers: array[int], memo: Memo) -> tuple[str, ...]:
        name = numbers.tobytes()
        keys = self._known_keys.get(name)
        if keys is None:
            if len(self._known_keys) >= _MOST_KEYS:
                self._known_keys.clear()
            keys = self._known_keys[name] = memo.texts(numbers)
        return keys


class Curves:
    """Reads curves, remembering their layouts."""

    def __init__(self, memo: Memo) -> None:
        self._memo = memo
        self._layouts: dict[bytes, list[CurveLayout]] = {}
        self._count = 0
        self._seen: set[tuple[bytes, int]] = set()

    def read(self, data: bytes, start: int, into: dict[Any, Any]) -> tuple[int, list[Any]]:
        """Read the curve, or its beginning, that starts at the first opcode after MARK.

        Args:
            data: The bytes; at least 64 KiB from ``start`` on unless the file ends before.
            start: Where the first key's opcode is.
            into: The dict that it fills.

        Returns:
            ``(bytes read, items)``. Without items the dict was filled and SETITEMS was read too; otherwise the items
            (key, value, key, …; maybe none, with 0 bytes read) belong on the stack.
        """
        head = _head(data, start)
        layouts = self._layouts.get(head, [])
        for layout in layouts:
            found = layout.read(data, start, self._memo)
            if found is not None:
                into.update(zip(*found, strict=True))
                return layout.length, []
        run = CurveRun(data, start, self._memo)
        if not run.closed:
            return run.length, [item for pair in zip(run.keys, run.values, strict=True) for item in pair]
        into.update(zip(run.keys, run.values, strict=True))
        if len(run.keys) >= _FEWEST:
            self._learn(head, run, data)
        return run.length, []

    def _learn(self, head: bytes, run: CurveRun, data: bytes) -> None:
        if (head, run.length) not in self._seen:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add((head, run.length))
            return
        alike = self._layouts.get(head, [])
        layout = run.layout(data, self._memo) if run.length <= _LONGEST and len(alike) < _MOST_ALIKE else None
        if layout is not None:
            if self._count >= _MOST_LAYOUTS:
                self._layouts.clear()
                self._count = 0
            self._layouts.setdefault(head, []).append(layout)
            self._count += 1


def _head(data: bytes, start: int) -> bytes:
    """The bytes by which layouts are told apart: the first key's opcode and, unless it is an old text, the key."""
    code = data[start]
    if code == _TEXT:
        return data[start : start + 5 + data[start + 1]]
    if code == _SHORT_TEXT:
        return data[start : start + 2 + data[start + 1]]
    return data[start : start + (1 if code in (_GET, _LONG_GET) else 3)]
