"""The payloads of NAS-Bench-101's TFRecord files, many at a time.

A payload is a JSON list: the cell's hash (32 hexadecimal digits), the epochs of the schedule, the adjacency matrix
(V * V digits 0 or 1), the vertices' operations (joined by commas), and a ``ModelMetrics`` message in base64. Payloads
in the form that ``json.dumps`` writes are taken apart together, by the places of their eight quotation marks; any other
is read alone by :mod:`json`. Both ways give the same.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prejudge.benchmarks.importers.nasbench101.model_metrics import VALUES, NotModelMetrics, read_messages
from prejudge.errors import FileFormatError
from prejudge.formats.tfrecord import RecordBlock

_QUOTES = 8
_HASH = re.compile(r"[0-9a-f]{32}")
_EPOCHS = re.compile(rb", ([1-9][0-9]{0,3}), ")
_FRACTIONS = [i for i, name in enumerate(VALUES) if "seconds" not in name]
_GAP = 8
"""Bytes around the epochs, of a payload that is taken apart together: ``, 108, ``."""
_SHORTEST = 32
"""Bytes of a block that the regular form looks at, wherever it begins."""
_FORMS = 8
"""Forms of base64 (places of line ends and padding) of one length that are decoded together."""
_FIRST_BYTES = np.array([2 ** (8 * n) - 1 for n in range(_GAP + 1)], dtype=np.uint64)


@dataclass(frozen=True)
class CellRecords:
    """The records of a block.

    Attributes:
        path: The file, for messages.
        block: The block.
        hashes: Hash of each record's cell, 32 hexadecimal digits.
        epochs: Length of each record's schedule, shape ``(records,)``.
        values: Numbers of each record's message, shape ``(records, len(VALUES))``; NaN where it does not have one.
        params: Trainable parameters, shape ``(records,)``; -1 where the message does not have them.
        quotes: Places of each payload's quotation marks, shape ``(records, 8)``, where it is of the regular form.
        regular: Whether it is, shape ``(records,)``.
    """

    path: Path
    block: RecordBlock
    hashes: list[bytes]
    epochs: np.ndarray
    values: np.ndarray
    params: np.ndarray
    quotes: np.ndarray
    regular: np.ndarray

    def cells(self, chosen: list[int]) -> Iterator[tuple[str, str]]:
        """Adjacency digits and operations of some records, as they are written there."""
        text = self.block.data.decode("latin-1") if chosen else ""
        begins, ends, operations_begin, operations_end = (self.quotes[chosen, k].tolist() for k in (2, 3, 4, 5))
        regular = self.regular[chosen].tolist()
        for i, is_regular, a, b, c, d in zip(
            chosen, regular, begins, ends, operations_begin, operations_end, strict=True
        ):
            adjacency, operations = text[a + 1 : b], text[c + 1 : d]
            if is_regular and "\\" not in adjacency and "\\" not in operations:
                yield adjacency, operations
            else:
                yield _plain(self.block[i])[2:4]

    def wrong(self, i: int, reason: object) -> FileFormatError:
        """The error for record ``i``."""
        return FileFormatError(f"{self.path}: {self.block.where(i)} is not a record of NAS-Bench-101: {reason}")


def read_records(path: Path, block: RecordBlock) -> CellRecords:
    """Read the payloads of a block.

    Raises:
        FileFormatError: One of them is not a record of NAS-Bench-101; the message names it and its byte in the file.
    """
    count = len(block)
    buffer = np.frombuffer(block.data.ljust(_SHORTEST, b"\0"), dtype=np.uint8)
    values = np.full((count, len(VALUES)), np.nan)
    params = np.full(count, -1, dtype=np.int64)
    quotes, epochs, regular = _taken_apart(buffer, block)
    hashes = _windows(buffer, quotes[:, 0] + 1, 32).view("S32").ravel()
    for rows, messages in _messages(buffer, quotes, regular):
        try:
            metrics = read_messages(messages)
        except NotModelMetrics:
            regular[rows] = False  # read one by one below, so that the message names the record
            continue
        values[rows], params[rows] = metrics.values, metrics.params
    records = CellRecords(path, block, [], epochs, values, params, quotes, regular)
    for i in np.flatnonzero(~regular).tolist():
        try:
            hashes[i], epochs[i], _, _, message = _plain(block[i])
            metrics = read_messages(np.frombuffer(message, dtype=np.uint8)[None])
        except ValueError as error:
            raise records.wrong(i, error) from error
        values[i], params[i] = metrics.values[0], metrics.params[0]
    impossible = np.isinf(values).any(axis=1) | (values < 0).any(axis=1) | (values[:, _FRACTIONS] > 1).any(axis=1)
    if impossible.any():
        i = int(np.argmax(impossible))
        raise records.wrong(i, f"impossible numbers {dict(zip(VALUES, values[i].tolist(), strict=True))}")
    return replace(records, hashes=hashes.tolist())


def _taken_apart(buffer: np.ndarray, block: RecordBlock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of each payload's quotation marks, its epochs, and whether it has the regular form."""
    places = np.flatnonzero(buffer == ord('"'))
    low = np.searchsorted(places, block.starts)
    eight = np.searchsorted(places, block.ends) - low == _QUOTES
    places = np.concatenate([places, np.zeros(_QUOTES, dtype=places.dtype)])
    quotes = places[low[:, None] + np.arange(_QUOTES)]
    regular = eight & (quotes[:, 0] == block.starts + 1) & (quotes[:, 1] == block.starts + 34)
    regular &= quotes[:, 7] == block.ends - 2
    regular &= (buffer[block.starts] == ord("[")) & (buffer[block.ends - 1] == ord("]"))
    digits = _windows(buffer, quotes[:, 0] + 1, 32)
    is_hex = (digits - np.uint8(ord("0")) < 10) | (digits - np.uint8(ord("a")) < 6)  # differences below 0 wrap around
    if not is_hex.all():
        regular &= is_hex.all(axis=1)
    for mark in (3, 5):
        behind = quotes[:, mark] + 1
        regular &= quotes[:, mark + 1] == behind + 2
        regular &= (buffer[behind] == ord(",")) & (buffer[behind + 1] == ord(" "))
    lengths = quotes[:, 2] - quotes[:, 1] - 1
    lengths[(lengths < 0) | (lengths > _GAP)] = 0
    texts = _windows(buffer, quotes[:, 1] + 1, _GAP).view("<u8").ravel() & _FIRST_BYTES[lengths]
    distinct, which = np.unique(texts, return_inverse=True)
    matches = [_EPOCHS.fullmatch(int(text).to_bytes(_GAP, "little").rstrip(b"\0")) for text in distinct]
    epochs = np.array([int(match[1]) if match else 0 for match in matches])[which]
    return quotes, epochs, regular & (epochs > 0)


def _windows(buffer: np.ndarray, starts: np.ndarray, width: int) -> np.ndarray:
    """``width`` bytes from each start, or the last ones of the buffer; shape ``(starts, width)``."""
    starts = np.minimum(starts, max(len(buffer) - width, 0))
    result: np.ndarray = np.lib.stride_tricks.sliding_window_view(buffer, min(width, len(buffer)))[starts]
    return result


def _messages(buffer: np.ndarray, quotes: np.ndarray, regular: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Messages of the regular payloads by length: (records, bytes of shape ``(records, length)``).

    Messages that are not base64 of the usual form are left out and no longer regular.
    """
    lengths = np.where(regular, quotes[:, 7] - quotes[:, 6] - 1, 0)
    for length in np.unique(lengths[regular]).tolist():
        left = np.flatnonzero(lengths == length)
        for _ in range(_FORMS):
            if left.size:
                similar, messages = _decoded(_windows(buffer, quotes[left, 6] + 1, length))
                if messages is None:
                    regular[left[similar]] = False
                else:
                    yield left[similar], messages
                left = left[~similar]
        regular[left] = False


def _decoded(text: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode, with the first text, all that have line ends and padding in the same places.

    Base64 in lines of 76 letters, which older encoders write, has escaped line ends at the same places in all texts of
    one length.

    Args:
        text: Shape ``(texts, length)``.

    Returns:
        Which texts these are, and their bytes; None if one of them is not base64.
    """
    marks = np.flatnonzero(text[0] == ord("\\"))
    similar = (text[:, marks] == ord("\\")).all(axis=1)
    is_letter = np.ones(text.shape[1] + 1, dtype=bool)
    is_letter[marks] = is_letter[marks + 1] = False
    letters = np.flatnonzero(is_letter[:-1])
    if not letters.size or letters.size % 4 or not is_letter[-1] or (text[0, marks + 1] != ord("n")).any():
        return similar, None
    special = text[:, [*(marks + 1), *letters[-2:]]]
    special[:, -2:] *= special[:, -2:] == ord("=")
    similar &= (special == special[0]).all(axis=1)
    text = text if similar.all() else text[similar]
    pad = int(np.count_nonzero(special[0, -2:]))
    size = len(letters) // 4 * 3
    # Padding would end the text, so zeros take its place, and the texts are decoded as one. Other characters are passed
    # over, which the size of the result tells: escapes are meant to be, and become characters that are none.
    text[:, marks + 1] = ord("\\")
    text[:, letters[len(letters) - pad :]] = ord("A")
    try:
        decoded = np.frombuffer(binascii.a2b_base64(text.data), dtype=np.uint8)
    except binascii.Error:
        return similar, None
    return similar, decoded.reshape(-1, size)[:, : size - pad] if decoded.size == len(text) * size else None


def _plain(payload: bytes) -> tuple[bytes, int, str, str, bytes]:
    """Hash, epochs, adjacency, operations and message of one payload; raises :class:`ValueError`."""
    try:
        row: Any = json.loads(payload)
    except (UnicodeDecodeError, RecursionError):
        raise ValueError("it is not JSON text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at its character {error.pos})") from None
    if not isinstance(row, list) or [type(field) for field in row] != [str, int, str, str, str]:
        raise ValueError("it is not a list of hash, epochs, adjacency, operations and metrics")
    key, epochs, adjacency, operations, metrics = row
    if not _HASH.fullmatch(key):
        raise ValueError(f"its hash is {key[:40]!r}, not 32 hexadecimal digits")
    if not 0 < epochs < 10_000:
        raise ValueError(f"it has {epochs} epochs")
    try:
        message = base64.b64decode("".join(metrics.split()), validate=True)
    except ValueError:
        raise ValueError("its metrics are not base64") from None
    return key.encode(), epochs, adjacency, operations, message
